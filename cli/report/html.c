/* A report as one HTML file: no scripts, nothing loaded, charts as inline SVG; laid out for A4. */
#include <inttypes.h>
#include <string.h>

#include "report/document.h"

static const char style[] =
    "@page{size:A4;margin:16mm 14mm}"
    "*{box-sizing:border-box}"
    "body{font:14px/1.45 'Helvetica Neue',Arial,'Liberation Sans',sans-serif;color:#1b2530;"
    "background:#fff;max-width:900px;margin:0 auto;padding:24px}"
    "h1{font-size:26px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 6px;"
    "border-bottom:2px solid #1d4f91;padding-bottom:3px}"
    "p{margin:4px 0 10px}.sub,.note{color:#51606e}.note{font-size:12.5px}"
    ".cards{display:grid;grid-template-columns:repeat(3,1fr);gap:10px;margin:14px 0}"
    ".card{border:1px solid #cfd8e1;border-radius:4px;padding:9px 12px;break-inside:avoid}"
    ".card b{display:block;font-size:23px;line-height:1.2}"
    ".card span{font-weight:600}.card small{display:block;color:#51606e;font-size:11.5px;"
    "line-height:1.35;margin-top:3px}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:3px 8px 3px 0;text-align:left;border-bottom:1px solid #e3e9ef;"
    "vertical-align:top}th{font-size:12px;color:#51606e;vertical-align:bottom}"
    "td.n,th.n{text-align:right;width:10.5%}td.n{white-space:nowrap}"
    "td.t,th.t{padding-left:8px}td.t{overflow-wrap:anywhere}"
    "td.bar{width:22%;padding-left:8px}"
    "td.l{overflow-wrap:anywhere;min-width:9em}"
    "td.code{white-space:nowrap;color:#51606e;font-size:12px;width:4em;max-width:13em;padding-"
    "right:12px;overflow:"
    "hidden;"
    "text-overflow:ellipsis}"
    ".wide,.wide th,.wide td.code{font-size:10px}.wide td,.wide th{padding-right:4px}"
    ".wide th.n,.wide td.n{width:auto}.wide th{overflow-wrap:anywhere}"
    "thead{display:table-header-group}tr{break-inside:avoid}h2{break-after:avoid}"
    "section.short{break-inside:avoid}svg{display:block}svg text{font-size:10px;fill:#51606e}"
    "dl{margin:0 0 14px;border-top:1px solid #e3e9ef}dt{font-weight:600;margin-top:8px}"
    "dd{margin:0 0 2px 18px;overflow-wrap:anywhere}dd i{color:#51606e;font-style:normal}"
    "p.note,dt,dt+dd{break-after:avoid}dd{break-inside:avoid}"
    "@media print{body{padding:0;font-size:10.5pt;max-width:none}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}"
    "@media(max-width:640px){.cards{grid-template-columns:1fr}td.bar{display:none}"
    "section{overflow-x:auto}}";

static void escaped(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            putc(*text, out);
        }
    }
}

static void element(const char *tag, const char *text, FILE *out)
{
    fprintf(out, "<%s>", tag);
    escaped(text, out);
    fprintf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

/* 1234567 as 1,234,567. */
static void grouped(int64_t value, FILE *out)
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%" PRId64, value);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') {
            putc(',', out);
        }
        putc(digits[i], out);
    }
}

static void cell_text(const struct cell *cell, FILE *out)
{
    switch (cell->kind) {
    case CELL_COUNT:
        grouped(cell->value, out);
        break;
    case CELL_DECIMAL: {
        int64_t tenths = (cell->value + 50) / 100;
        grouped(tenths >= 10000 ? (tenths + 5) / 10 : tenths / 10, out);
        if (tenths < 10000) {
            fprintf(out, ".%" PRId64, tenths % 10);
        }
        break;
    }
    case CELL_TEXT:
        escaped(cell->text, out);
        break;
    case CELL_SUPPRESSED:
        fputs("[c]", out);
        break;
    case CELL_EMPTY:
    default:
        break;
    }
}

static int64_t known(const struct cell *cell)
{
    return cell->kind == CELL_COUNT ? cell->value : 0;
}

/* ------------------------------------------------------------------ charts */

static int64_t highest(const struct table *table, unsigned first, unsigned last)
{
    int64_t most = 1;
    for (size_t r = 0; r < table->row_count; r++) {
        for (unsigned c = first; c <= last; c++) {
            int64_t value = known(&table->rows[r].cells[c]);
            most = value > most ? value : most;
        }
    }
    return most;
}

/* A row's identifications, which are its last measure where they are counted. */
static int64_t identified(const struct table *table, const struct doc_row *row)
{
    unsigned last = table->column_count - 1;
    return strcmp(table->columns[last].id, "identifications") == 0 ? known(&row->cells[last]) : 0;
}

/* One row's bar: the first measure pale, and in it the identifications dark. */
static void bar(const struct table *table, const struct doc_row *row, int64_t most, FILE *out)
{
    double whole = 200.0 * (double)known(&row->cells[0]) / (double)most;
    double part = 200.0 * (double)identified(table, row) / (double)most;
    fprintf(out,
            "<td class=bar><svg role=img aria-hidden=true width=\"100%%\" height=14 "
            "viewBox=\"0 0 200 14\" preserveAspectRatio=none><rect y=2 width=\"%.1f\" height=10 "
            "fill=\"#9dbbe0\"/><rect y=2 width=\"%.1f\" height=10 fill=\"#1d4f91\"/></svg></td>",
            whole, part);
}

static void hours_chart(const struct table *table, FILE *out)
{
    int64_t most = highest(table, 0, 0);
    fputs("<svg role=img aria-label=\"Uses in each hour of the day\" width=\"100%\" "
          "viewBox=\"0 0 720 150\">",
          out);
    for (size_t r = 0; r < table->row_count && r < 24; r++) {
        const struct cell *cells = table->rows[r].cells;
        double whole = 120.0 * (double)known(&cells[0]) / (double)most;
        double part = 120.0 * (double)identified(table, &table->rows[r]) / (double)most;
        double x = 30.0 * (double)r;
        fprintf(out,
                "<rect x=\"%.0f\" y=\"%.1f\" width=24 height=\"%.1f\" fill=\"#9dbbe0\"/>"
                "<rect x=\"%.0f\" y=\"%.1f\" width=24 height=\"%.1f\" fill=\"#1d4f91\"/>"
                "<text x=\"%.0f\" y=145 text-anchor=middle>%02zu</text>",
                x + 3, 130 - whole, whole, x + 3, 130 - part, part, x + 15, r);
    }
    fputs("</svg>\n", out);
}

static void heat_chart(const struct table *table, FILE *out)
{
    int64_t most = highest(table, 0, table->column_count - 1);
    fprintf(out,
            "<svg role=img aria-label=\"Uses by weekday and hour\" width=\"100%%\" "
            "viewBox=\"0 0 720 %zu\">",
            26 * table->row_count + 18);
    for (size_t r = 0; r < table->row_count; r++) {
        fprintf(out, "<text x=0 y=\"%zu\">", 26 * r + 17);
        escaped(table->rows[r].label, out);
        fputs("</text>", out);
        for (unsigned c = 0; c < table->column_count; c++) {
            int64_t value = known(&table->rows[r].cells[c]);
            double strength = (double)value / (double)most;
            fprintf(out,
                    "<rect x=\"%u\" y=\"%zu\" width=25 height=24 fill=\"#1d4f91\" "
                    "fill-opacity=\"%.2f\"/><text x=\"%u\" y=\"%zu\" text-anchor=middle "
                    "style=\"fill:%s;font-size:8px\">%" PRId64 "</text>",
                    70 + 27 * c, 26 * r, 0.04 + 0.96 * strength, 82 + 27 * c, 26 * r + 15,
                    strength > 0.5 ? "#fff" : "#1b2530", value);
        }
    }
    for (unsigned c = 0; c < table->column_count; c++) {
        fprintf(out, "<text x=\"%u\" y=\"%zu\" text-anchor=middle>%02u</text>", 82 + 27 * c,
                26 * table->row_count + 12, c);
    }
    fputs("</svg>\n", out);
}

/* ------------------------------------------------------------------ tables */

static void cards(const struct table *table, FILE *out)
{
    fputs("<div class=cards>\n", out);
    for (size_t r = 0; r < table->row_count; r++) {
        const struct doc_row *row = &table->rows[r];
        fputs("<div class=card><b>", out);
        cell_text(&row->cells[0], out);
        fputs("</b><span>", out);
        escaped(row->label, out);
        fputs("</span><small>", out);
        escaped(row->note, out);
        fputs("</small></div>\n", out);
    }
    fputs("</div>\n", out);
}

static void long_rows(const struct table *table, FILE *out)
{
    fputs("<dl>\n", out);
    for (size_t r = 0; r < table->row_count; r++) {
        const struct doc_row *row = &table->rows[r];
        element("dt", row->label, out);
        for (unsigned c = 0; c < table->column_count; c++) {
            if (row->cells[c].kind != CELL_EMPTY && (table->hidden >> c & 1) == 0) {
                fputs("<dd><i>", out);
                escaped(table->columns[c].title, out);
                fputs(":</i> ", out);
                cell_text(&row->cells[c], out);
                fputs("</dd>\n", out);
            }
        }
    }
    fputs("</dl>\n", out);
}

static bool has_codes(const struct table *table)
{
    for (size_t r = 0; r < table->row_count; r++) {
        const struct doc_row *row = &table->rows[r];
        if (row->code[0] != '\0' && strcmp(row->code, row->label) != 0) {
            return true;
        }
    }
    return false;
}

/* A column of words rather than numbers. */
static bool is_text(const struct table *table, unsigned column)
{
    for (size_t r = 0; r < table->row_count; r++) {
        if (table->rows[r].cells[column].kind != CELL_EMPTY) {
            return table->rows[r].cells[column].kind == CELL_TEXT;
        }
    }
    return false;
}

static void head_line(const struct table *table, bool codes, FILE *out)
{
    fprintf(out, "<table%s><thead><tr>%s<th></th>", table->column_count > 8 ? " class=wide" : "",
            codes ? "<th>Code</th>" : "");
    for (unsigned c = 0; c < table->column_count; c++) {
        if ((table->hidden >> c & 1) != 0) {
            continue;
        }
        fputs(is_text(table, c) ? "<th class=t>" : "<th class=n>", out);
        escaped(table->columns[c].title, out);
        fputs("</th>", out);
    }
    fprintf(out, "%s</tr></thead><tbody>\n", table->chart == CHART_BARS ? "<th></th>" : "");
}

static void lines(const struct table *table, FILE *out)
{
    int64_t most = table->chart == CHART_BARS ? highest(table, 0, 0) : 1;
    bool codes = has_codes(table);
    size_t shown =
        table->shown > 0 && table->shown < table->row_count ? table->shown : table->row_count;
    head_line(table, codes, out);
    for (size_t r = 0; r < shown; r++) {
        const struct doc_row *row = &table->rows[r];
        fputs("<tr>", out);
        if (codes) {
            fputs("<td class=code>", out);
            escaped(row->code, out);
            fputs("</td>", out);
        }
        fputs("<td class=l>", out);
        escaped(row->label, out);
        fputs("</td>", out);
        for (unsigned c = 0; c < table->column_count; c++) {
            if ((table->hidden >> c & 1) != 0) {
                continue;
            }
            fputs(is_text(table, c) ? "<td class=t>" : "<td class=n>", out);
            cell_text(&row->cells[c], out);
            fputs("</td>", out);
        }
        if (table->chart == CHART_BARS) {
            bar(table, row, most, out);
        }
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
    if (shown < table->row_count) {
        fprintf(out, "<p class=note>%zu of %zu are shown; the CSV and JSON files have all.</p>\n",
                shown, table->row_count);
    }
}

static void section(const struct table *table, FILE *out)
{
    fprintf(out, "<section%s>\n", table->row_count <= 14 ? " class=short" : "");
    element("h2", table->title, out);
    if (table->note[0] != '\0') {
        element("p class=note", table->note, out);
    }
    if (strcmp(table->id, "summary") == 0) {
        cards(table, out);
    } else if (table->long_form) {
        long_rows(table, out);
    } else if (table->row_count == 0) {
        element("p", "None.", out);
    } else if (table->chart == CHART_HEAT) {
        heat_chart(table, out);
    } else {
        if (table->chart == CHART_HOURS) {
            hours_chart(table, out);
        }
        lines(table, out);
    }
    fputs("</section>\n", out);
}

static bool has_bars(const struct document *doc)
{
    for (size_t t = 0; t < doc->table_count; t++) {
        if (doc->tables[t].chart == CHART_BARS) {
            return true;
        }
    }
    return false;
}

bool document_html(const struct document *doc, FILE *out)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en-GB\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" "
          "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
          out);
    element("title", doc->title, out);
    fprintf(out, "<style>%s</style></head><body>\n", style);
    element("h1", doc->title, out);
    element("p class=sub", doc->subtitle, out);
    if (has_bars(doc)) {
        element("p class=note",
                "In charts, the pale bar is uses and the dark part of it "
                "identifications.",
                out);
    }
    for (size_t t = 0; t < doc->table_count; t++) {
        if (!doc->tables[t].data_only) {
            section(&doc->tables[t], out);
        }
    }
    fputs("</body></html>\n", out);
    return fflush(out) == 0 && !ferror(out);
}
