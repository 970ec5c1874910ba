/* The database's table of PNC records: its names, the questions in SQL, and what its rows say. */
#ifndef PLUGINS_PNC_TABLE_H
#define PLUGINS_PNC_TABLE_H

#include "plugins/pnc/database.h"

/* "pncid", "cro", "name_keys", then one for each class. */
#define PNC_COLUMNS (3u + PNC_CLASSES)
#define PNC_SQL_CAP 2048u

struct pnc_table {
    char name[140];                /* quoted: "schema"."table" */
    char columns[PNC_COLUMNS][68]; /* quoted */
};

/* Reads the settings `records_table` and `columns`. false with *fault. */
bool pnc_table_read(const struct whorl_settings *settings, struct pnc_table *table,
                    struct whorl_fault *fault);

/* The question for the people of a key ($1), in columns: PNCID, CRO number, and each class (NULL
 * unless in the set). At most PNC_CACHE_FOUND_MAX rows; a single row of NULLs if the table has none
 * at all. */
void pnc_table_sql(const struct pnc_table *table, enum pnc_key by, unsigned classes,
                   char sql[PNC_SQL_CAP]);

/* What rows say to a question that was asked at `asked`: sets its outcome, news and fault. Pure
 * function otherwise. */
void pnc_table_rows(const PGresult *rows, const struct pnc_moment *asked,
                    struct pnc_question *question);

#define PNC_SAMPLE_ROWS 1000u

/* The statement that reads some rows, at most PNC_SAMPLE_ROWS: columns as above with every class,
 * and then the name keys, a line each. */
void pnc_table_sample_sql(const struct pnc_table *table, char sql[PNC_SQL_CAP]);

/* Whether such a row would be found by all its keys and then believed. false with *fault, which
 * holds no value. Pure function. */
bool pnc_table_sample_row(const PGresult *rows, int row, struct whorl_fault *fault);

#endif
