/* PNC records as SQL for psql: rows of Whorl's own table. */
#ifndef CLI_GALLERY_PNC_SQL_H
#define CLI_GALLERY_PNC_SQL_H

#include <stdio.h>

#include "plugins/pnc/records.h"

/* What stands before the records. */
void pnc_sql_begin(FILE *out);

/* One record. false: out of memory; errors of out are left to ferror. */
bool pnc_sql_record(FILE *out, const struct pnc_record *record);

/* What stands behind them: each replaces the row of its PNCID, the last of several counts. */
void pnc_sql_end(FILE *out);

#endif
