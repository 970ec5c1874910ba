/* What Whorl makes in a database for PNC records. */
#include "plugins/pnc/schema.h"

/* The letters of pnc_name_key: it and this must agree (tests/e2e/test_source_pnc.py). The last to
 * be given stand for nothing. */
#define LETTERS                                                                                                                                               \
    "aÀÁÂÃÄÅàáâãäåĀāĂăĄąbcÇçĆćĈĉĊċČčdÐðĎďĐđeÈÉÊËèéêëĒēĔĕĖėĘęĚěfgĜĝĞğĠġĢģhĤĥĦħiÌÍÎÏìíî" \
    "ïĨĩĪīĬĭĮįİıjĴĵkĶķĸlĹĺĻļĽľĿŀŁłmnÑñŃńŅņŇňŉŊŋoÒÓÔÕÖØòóôõöøŌōŎŏŐőpqrŔŕŖŗŘřsŚśŜŝŞşŠšſ"  \
    "tŢţŤťŦŧuÙÚÛÜùúûüŨũŪūŬŭŮůŰűŲųvwŴŵxyÝýÿŶŷŸzŹźŻżŽž"
#define PLAIN                                                                                      \
    "AAAAAAAAAAAAAAAAAAABCCCCCCCCCCCDDDDDDDEEEEEEEEEEEEEEEEEEEFGGGGGGGGGHHHHHIIIIIIII"             \
    "IIIIIIIIIIIJJJKKKKLLLLLLLLLLLMNNNNNNNNNNNNOOOOOOOOOOOOOOOOOOOPQRRRRRRRSSSSSSSSSS"             \
    "TTTTTTTUUUUUUUUUUUUUUUUUUUUUVWWWXYYYYYYYZZZZZZZ"
#define MARKS "!\"#$%&''()*+/:;<=>?@[\\]^_`{|}~×÷"

const char pnc_schema_sql[] =
    /* A name's letters, without case, accents and marks. */
    "CREATE FUNCTION whorl.pnc_fold(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE "
    "AS $$ SELECT "
    "translate(replace(replace(replace(replace(replace(replace(replace(replace(replace($1, 'Æ', "
    "'AE'), 'æ', 'AE'), 'Œ', 'OE'), 'œ', 'OE'), 'Þ', 'TH'), 'þ', 'TH'), 'ß', 'SS'), 'Ĳ', 'IJ'), "
    "'ĳ', 'IJ'), '" LETTERS " -.," MARKS "', '" PLAIN "') $$;\n"
    /* pnc_name_key: NULL where that is "". */
    "CREATE FUNCTION whorl.pnc_name_key(family text, given text, born text) RETURNS text "
    "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ "
    "SELECT f || '|' || g || '|' || left(born, 10) FROM (SELECT whorl.pnc_fold(family) AS f, "
    "whorl.pnc_fold(split_part(ltrim(translate(given, ' -.," MARKS "', '    ')), ' ', 1)) AS g) "
    "AS folded WHERE f <> '' AND g <> '' $$;\n"
    /* All that a person is found by: filed name and aliases. */
    "CREATE FUNCTION whorl.pnc_name_keys(details jsonb) RETURNS text[] "
    "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ "
    "SELECT array_agg(DISTINCT key) FROM (SELECT whorl.pnc_name_key(name->>'family', "
    "name->>'given', coalesce(name->>'born', details->>'born')) AS key "
    "FROM (SELECT details->'name' AS name UNION ALL SELECT jsonb_array_elements(CASE "
    "jsonb_typeof(details->'aliases') WHEN 'array' THEN details->'aliases' ELSE '[]' END)) "
    "AS names) AS keys WHERE key IS NOT NULL $$;\n"
    "CREATE TABLE whorl.pnc_people ("
    "pncid text COLLATE \"C\" PRIMARY KEY CHECK (pncid ~ '^[0-9]{4}/[0-9]{7}[A-Z]$'), "
    "cro text COLLATE \"C\" "
    "CHECK (cro ~ '^([0-9]{6,}/[0-9]{2}|SF[0-9]{2}/[0-9]+)[A-Z]$'), "
    "details jsonb NOT NULL, circulations jsonb, bail jsonb, disqualified jsonb, warnings jsonb, "
    "markers jsonb, "
    "name_keys text[] GENERATED ALWAYS AS (whorl.pnc_name_keys(details)) STORED);\n"
    "CREATE INDEX pnc_people_cro ON whorl.pnc_people (cro);\n"
    "CREATE INDEX pnc_people_name_keys ON whorl.pnc_people USING gin (name_keys) "
    "WITH (fastupdate = off);\n";
