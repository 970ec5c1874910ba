// Descriptions of tattoos, and a search among them by words.
//
// A word that few tattoos have says more than one that many have: sharing a word that n of N have
// is worth log10(N / n), counted in dB (times 10). It is the inverse document frequency of K.
// Spärck Jones, "A statistical interpretation of term specificity and its application in
// retrieval", Journal of Documentation 28 (1972), with words taken as independent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

struct Tattoo {
    std::string reference, pncid, family, given, born, words;
};

struct Scored {
    std::uint32_t tattoo; // its place in Tattoos::at
    double score;         // dB, > 0
};

// Words of a sample: they stay where they are and are copied nowhere.
struct Query {
    static constexpr std::size_t words_max = 32, word_max = 32;
    std::array<std::string_view, words_max> words;
    std::size_t count = 0;

    // Takes the words of a text, each once; false when there is none, too many or too long a one.
    bool read(std::string_view text);
};

class Tattoos
{
  public:
    static constexpr std::size_t file_max = 16 << 20, tattoos_max = 200000;

    // Reads a CSV file. Throws std::runtime_error with what is wrong, where.
    explicit Tattoos(const std::string &path);

    std::size_t size() const
    {
        return all_.size();
    }
    const Tattoo &at(std::size_t index) const
    {
        return all_[index];
    }

    // All that share a word, best first. Any thread.
    std::vector<Scored> search(const Query &query) const;

  private:
    // Without regard to the case of A to Z; transparent, so that a query's words need not be
    // copied.
    struct Folded {
        using is_transparent = void;
        bool operator()(std::string_view a, std::string_view b) const;
    };

    void add(std::string_view line);

    std::vector<Tattoo> all_;
    std::map<std::string, std::vector<std::uint32_t>, Folded> by_word_;
};
