/* What is done to a configuration file's text before it is parsed. */
#ifndef CORE_CONF_TEXT_H
#define CORE_CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/conf/mistakes.h"

/* What an empty list becomes, for which libconfuse calls nobody back: a value that no file can
 * hold. */
#define TEXT_EMPTY_LIST "\x03"
/* What | becomes, which in a name would lead libconfuse into another section. */
#define TEXT_BAR '\x04'

/* Blanks comments out (libconfuse miscounts the lines of block comments), and reports what must
 * not be there: NUL and other control characters, broken UTF-8, characters given by their number
 * (\x01), and ${VARIABLE}, because a configuration must mean the same for everybody who reads it.
 * An empty list behind an equal sign becomes TEXT_EMPTY_LIST, | becomes TEXT_BAR. text gets a NUL
 * at [length]. Returns the number of lines. */
int text_prepare(struct mistakes *mistakes, const char *file, char *text, size_t length);

/* Gives a part of the text its | back. */
void text_restore(char *text);

/* Overwrites the line (from 1) with spaces. false when that would make things worse, because it is
 * blank already, holds a brace, or a part of a string of several lines. */
bool text_blank_line(char *text, int line);

/* Whether this is UTF-8 without control characters. */
bool text_is_clean(const char *text);

#endif
