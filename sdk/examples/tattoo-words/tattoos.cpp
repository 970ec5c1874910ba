#include "tattoos.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "whorl/msg.h"

namespace
{

constexpr std::size_t columns = 6, field_max = 250;

char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return fold(x) == fold(y); });
}

// Cuts off what stands before the first mark.
std::string_view cut(std::string_view &text, char mark)
{
    std::size_t end = text.find(mark);
    std::string_view first = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return first;
}

// A day as YYYY-MM-DD that the calendar has.
bool is_day(std::string_view text)
{
    constexpr std::string_view form = "dddd-dd-dd";
    constexpr std::array<int, 12> days = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (text.size() != form.size()) {
        return false;
    }
    for (std::size_t i = 0; i < form.size(); i++) {
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) {
            return false;
        }
    }
    auto number = [&](std::size_t at, std::size_t len) {
        return std::stoi(std::string(text.substr(at, len)));
    };
    int year = number(0, 4), month = number(5, 2), day = number(8, 2);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1800 && month >= 1 && month <= 12 && day >= 1 &&
           day <= days[static_cast<std::size_t>(month - 1)] && (leap || month != 2 || day != 29);
}

} // namespace

bool Query::read(std::string_view text)
{
    count = 0;
    while (!text.empty()) {
        std::string_view word = cut(text, ' ');
        bool known = std::any_of(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count),
                                 [&](std::string_view other) { return same(other, word); });
        if (word.empty() || known) {
            continue;
        }
        if (count == words_max || word.size() > word_max) {
            return false;
        }
        words[count++] = word;
    }
    return count > 0;
}

bool Tattoos::Folded::operator()(std::string_view a, std::string_view b) const
{
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](char x, char y) { return fold(x) < fold(y); });
}

void Tattoos::add(std::string_view line)
{
    std::array<std::string_view, columns> field;
    if (std::count(line.begin(), line.end(), ',') != columns - 1) {
        throw std::runtime_error("is no row of 6 columns");
    }
    for (std::string_view &one : field) {
        one = cut(line, ',');
        if (one.size() > field_max || !whorl_text_is_clean(one.data(), one.size())) {
            throw std::runtime_error("has a field over 250 bytes, or that is no text");
        }
    }
    Query words;
    if (field[0].empty() || field[0].size() > 100 || !words.read(field[5])) {
        throw std::runtime_error("needs a reference of 1 to 100 bytes and 1 to 32 words of up to "
                                 "32 bytes");
    }
    if (!field[4].empty() && !is_day(field[4])) {
        throw std::runtime_error("born is no day as YYYY-MM-DD");
    }
    if (all_.size() == tattoos_max) {
        throw std::runtime_error("is one too many");
    }
    auto index = static_cast<std::uint32_t>(all_.size());
    for (std::size_t i = 0; i < words.count; i++) {
        by_word_[std::string(words.words[i])].push_back(index);
    }
    all_.push_back({std::string(field[0]), std::string(field[1]), std::string(field[2]),
                    std::string(field[3]), std::string(field[4]), std::string(field[5])});
}

Tattoos::Tattoos(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::string line;
    std::size_t number = 1, bytes = 0;
    if (!std::getline(file, line) || line != "reference,pncid,family,given,born,words") {
        throw std::runtime_error(path + ":1: the columns must be reference, pncid, family, given, "
                                        "born, words");
    }
    while (std::getline(file, line)) {
        number++;
        bytes += line.size();
        try {
            if (bytes > file_max) {
                throw std::runtime_error("the file is over 16 MiB");
            }
            add(line);
        } catch (const std::runtime_error &wrong) {
            throw std::runtime_error(path + ":" + std::to_string(number) + ": " + wrong.what());
        }
    }
    if (file.bad()) {
        throw std::runtime_error(path + ": could not be read whole");
    }
}

std::vector<Scored> Tattoos::search(const Query &query) const
{
    std::map<std::uint32_t, double> sums;
    for (std::size_t i = 0; i < query.count; i++) {
        auto found = by_word_.find(query.words[i]);
        if (found == by_word_.end()) {
            continue;
        }
        double worth = 10.0 * std::log10(static_cast<double>(all_.size()) /
                                         static_cast<double>(found->second.size()));
        for (std::uint32_t tattoo : found->second) {
            sums[tattoo] += worth;
        }
    }
    std::vector<Scored> scored;
    scored.reserve(sums.size());
    for (auto [tattoo, score] : sums) {
        scored.push_back({tattoo, score});
    }
    std::stable_sort(scored.begin(), scored.end(),
                     [](const Scored &a, const Scored &b) { return a.score > b.score; });
    return scored;
}
