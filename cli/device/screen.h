/* What a device shows of the server's messages: text for an officer, or JSON for a program. */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <stdbool.h>
#include <stdio.h>

#include "whorl/msg.h"

/* An identify result, laid out for reading. colour: with terminal escapes. */
void screen_identity(const msgpack_object *result, bool colour, FILE *out);

/* A capabilities result. */
void screen_capabilities(const msgpack_object *result, FILE *out);

/* An error map, as one line. */
void screen_error(const msgpack_object *error, FILE *out);

/* A progress notification's argument, as one line that the next one overwrites on a terminal. */
void screen_progress(const msgpack_object *argument, FILE *out);

/* Any message as JSON; a bin becomes a hex string. Ends with a newline. */
bool screen_json(const msgpack_object *object, FILE *out);

/* The same without any line break, not even at its end. */
bool screen_json_line(const msgpack_object *object, FILE *out);

#endif
