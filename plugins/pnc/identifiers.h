/* PNC identifiers and CRO numbers: reading what people write, checking the check letter, and the
 * one canonical form that is stored and compared.
 *
 * The check letter is letter N mod 23 of ZABCDEFGHJKLMNPQRTUVWXY, where N is written from two
 * digits of the year and the serial number (padded to 7 digits for a PNCID, to 6 for a CRO number,
 * as written for a CRO SF number). */
#ifndef PLUGINS_PNC_IDENTIFIERS_H
#define PLUGINS_PNC_IDENTIFIERS_H

#include <stdbool.h>

#include "whorl/plugin.h"

#define PNC_ID_CAP 16 /* a canonical identifier and its NUL */

/* Reads YYYY/NNNNNNNC or YY/n…C, with or without the slash, letters in either case, leading zeros
 * of the serial optional where there is a slash. A two-digit year up to that of this_year (e.g.
 * 2026) is of this century, any other of the last. canonical becomes YYYY/NNNNNNNC. false: *fault
 * says what is wrong, without repeating the text; canonical is "". Pure function. */
bool pnc_pncid_read(const char *text, int this_year, char canonical[PNC_ID_CAP],
                    struct whorl_fault *fault);

/* Reads n/YYC (canonical: n padded to 6 digits) or SFYY/nC (canonical: as written, upper case).
 * As above. */
bool pnc_cro_read(const char *text, char canonical[PNC_ID_CAP], struct whorl_fault *fault);

#endif
