/* PNC identifiers and CRO numbers. */
#include "plugins/pnc/identifiers.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "whorl/msg.h"

#define TEXT_MAX 15u

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(const char *text)
{
    size_t n = 0;
    while (is_digit(text[n])) {
        n++;
    }
    return n;
}

static unsigned number(const char *digits, size_t count)
{
    unsigned value = 0; /* at most 7 digits */
    for (size_t i = 0; i < count; i++) {
        value = value * 10 + (unsigned)(digits[i] - '0');
    }
    return value;
}

/* Whether `text` is the one letter that belongs to year and serial; into *letter in upper case. */
static bool check_letter(const char *text, unsigned year, unsigned serial, unsigned scale,
                         char *letter, struct whorl_fault *fault)
{
    static const char alphabet[] = "ZABCDEFGHJKLMNPQRTUVWXY";
    uint64_t n = (uint64_t)(year % 100) * scale + serial;
    char c = text[0];
    if (c >= 'a' && c <= 'z') {
        c = (char)(c - 'a' + 'A');
    }
    if (c < 'A' || c > 'Z' || text[1] != '\0') {
        return whorl_fail(fault, "", "must end in one check letter");
    }
    if (c != alphabet[n % 23]) {
        return whorl_fail(fault, "", "the check letter does not fit the number");
    }
    *letter = c;
    return true;
}

static unsigned power_of_ten(size_t digits)
{
    unsigned scale = 1;
    while (digits-- > 0) {
        scale *= 10;
    }
    return scale;
}

/* Digits of the year before a PNCID's serial; 0: no such form. */
static size_t year_digits(const char *text, size_t leading)
{
    if (text[leading] == '/') {
        return leading == 2 || leading == 4 ? leading : 0;
    }
    if (leading == 11) { /* YYYYNNNNNNN */
        return 4;
    }
    return leading >= 3 && leading <= 9 ? 2 : 0; /* YYn to YYnnnnnnn */
}

bool pnc_pncid_read(const char *text, int this_year, char canonical[PNC_ID_CAP],
                    struct whorl_fault *fault)
{
    char letter;
    canonical[0] = '\0';
    size_t leading = strlen(text) <= TEXT_MAX ? digits_at(text) : 0;
    size_t year_len = year_digits(text, leading);
    const char *serial_at = text + year_len + (text[leading] == '/');
    size_t serial_len = year_len > 0 ? digits_at(serial_at) : 0;
    if (serial_len < 1 || serial_len > 7) {
        return whorl_fail(fault, "", "must have the form YYYY/NNNNNNNC or YY/NC");
    }
    unsigned year = number(text, year_len);
    if (year_len == 2) {
        year += year <= (unsigned)this_year % 100 ? 2000 : 1900;
    }
    if (year < 1900 || year > (unsigned)this_year) {
        return whorl_fail(fault, "", "the year must be 1900 to %d", this_year);
    }
    unsigned serial = number(serial_at, serial_len);
    if (!check_letter(serial_at + serial_len, year, serial, 10000000u, &letter, fault)) {
        return false;
    }
    snprintf(canonical, PNC_ID_CAP, "%04u/%07u%c", year % 10000u, serial % 10000000u, letter);
    return true;
}

/* SFYY/nC: text is what follows SF. */
static bool read_sf(const char *text, char canonical[PNC_ID_CAP], struct whorl_fault *fault)
{
    char letter;
    size_t serial_len = digits_at(text) == 2 && text[2] == '/' ? digits_at(text + 3) : 0;
    if (serial_len < 1 || serial_len > 6) {
        return whorl_fail(fault, "", "must have the form N/YYC or SFYY/NC");
    }
    const char *serial_at = text + 3;
    if (!check_letter(serial_at + serial_len, number(text, 2), number(serial_at, serial_len),
                      power_of_ten(serial_len), &letter, fault)) {
        return false;
    }
    snprintf(canonical, PNC_ID_CAP, "SF%.2s/%.*s%c", text, (int)serial_len, serial_at, letter);
    return true;
}

bool pnc_cro_read(const char *text, char canonical[PNC_ID_CAP], struct whorl_fault *fault)
{
    char letter;
    canonical[0] = '\0';
    size_t serial_len = strlen(text) <= TEXT_MAX ? digits_at(text) : 0;
    if (strlen(text) <= TEXT_MAX && (text[0] | 0x20) == 's' && (text[1] | 0x20) == 'f') {
        return read_sf(text + 2, canonical, fault);
    }
    const char *year_at = text + serial_len + 1;
    if (serial_len < 1 || serial_len > 6 || text[serial_len] != '/' || digits_at(year_at) != 2) {
        return whorl_fail(fault, "", "must have the form N/YYC or SFYY/NC");
    }
    unsigned serial = number(text, serial_len);
    if (!check_letter(year_at + 2, number(year_at, 2), serial, 1000000u, &letter, fault)) {
        return false;
    }
    snprintf(canonical, PNC_ID_CAP, "%06u/%.2s%c", serial % 1000000u, year_at, letter);
    return true;
}
