/* What Whorl makes in a database for PNC records, in the schema whorl, which must be there: the
 * table pnc_people, and functions that make the keys by which people are found by name. */
#ifndef PLUGINS_PNC_SCHEMA_H
#define PLUGINS_PNC_SCHEMA_H

/* Statements, to be run once. */
extern const char pnc_schema_sql[];

#endif
