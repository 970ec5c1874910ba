"""Makes the manual pages whorl(1), whorl.conf(5) and whorl-plugin(7) and the ABI reference abi.html from
what the program itself and this tree say: `--help` of every command, docs/*.md, the SDK's headers.

    man.py WHORL OUT_DIR
"""
import html
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADERS = [("sdk/include/whorl", name) for name in
           ("plugin.h", "msg.h", "answer.h", "secret.h", "store.h")] + \
          [("sdk/client/include/whorl", name) for name in ("client.h", "line.h")]


# --- roff ---

def roff(text):
    """Text as roff shows it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def spans(text):
    """A line of Markdown: code and bold in bold, links by their text."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    out = ""
    for part in re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)", text):
        if part[:1] == "`" and part[-1:] == "`" and len(part) > 1:
            out += "\\fB" + roff(part[1:-1]).removeprefix("\\&") + "\\fR"
        elif part[:1] == "*" and part[-1:] == "*" and len(part) > 1:
            out += "\\fI" + roff(part.strip("*")) + "\\fR"
        else:
            out += roff(part) if not out else roff(part).removeprefix("\\&")
    return out


def title(name, section, what):
    return [f'.TH {name.upper()} {section} "" "whorl" "Whorl"', ".SH NAME", f"{name} \\- {what}"]


def verbatim(lines):
    return [".PP", ".RS 4", ".nf", *(roff(line) for line in lines), ".fi", ".RE"]


def cells(row):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def table(rows):
    """A list: the first column is the term. A blank one in front goes on with the one above."""
    heads, out, group = cells(rows[0]), [], ""
    for row in rows[2:]:
        row = cells(row)
        if heads[0] == "plugin":
            group = row[0] or group
            term, heads_left, rest = f"{row[1]} ({group})", heads[2:], row[2:]
        else:
            term, heads_left, rest = row[0], heads[1:], row[1:]
        parts = [f"{head}: {cell}" if head else cell
                 for head, cell in zip(heads_left, rest) if cell]
        out += [".TP", spans(re.sub(r"^([^`]\S*)", r"`\1`", term)), spans("; ".join(parts)) or "\\&"]
    return out


def markdown(path):
    """A page of docs as roff, without its title. Paragraphs, lists, tables, code, headings."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        lines = file.read().split("\n")
    out, at = [], 1
    while at < len(lines):
        line, start = lines[at], at
        at += 1
        if line.startswith("```"):
            while not lines[at].startswith("```"):
                at += 1
            out += verbatim(lines[start + 1:at])
            at += 1
        elif line.startswith("    "):
            while lines[at].startswith("    "):
                at += 1
            out += verbatim(text[4:] for text in lines[start:at])
        elif line.startswith("|"):
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            out += table(lines[start:at])
        elif line.startswith("#"):
            level = line.index(" ")
            heading = spans(line[level + 1:])
            out += [f".SH {heading.upper()}" if level == 2 and "\\" not in heading else
                    f'.SH "{heading}"' if level == 2 else f'.SS "{heading}"']
        elif line.startswith("- "):
            while at < len(lines) and lines[at].startswith("  "):
                at += 1
            out += [".IP \\(bu 2", spans(" ".join(x.strip(" ") for x in lines[start:at])[2:])]
        elif line:
            while at < len(lines) and lines[at] and lines[at][0] not in "|#" and \
                    not lines[at].startswith(("- ", "```")):
                at += 1
            out += [".PP", spans(" ".join(lines[start:at]))]
    return out


# --- the commands ---

def help_of(whorl, *words):
    return subprocess.run([whorl, *words, "--help"], check=True, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True).stdout


def listed(text):
    """The commands that a list of them names."""
    return re.findall(r"^  ([a-z][a-z-]*) +\S", text, re.M)


def commands(whorl):
    """Every command that has options of its own, with its help."""
    found = []
    for name in listed(help_of(whorl)):
        text = help_of(whorl, name)
        if re.match(rf"Usage: whorl {name} COMMAND", text):
            found += [((name, inner), help_of(whorl, name, inner)) for inner in listed(text)]
        else:
            found.append(((name,), text))
    # Commands in all but name, which the list of commands mentions in brackets.
    found += [(("synth", inner), help_of(whorl, "synth", inner)) for inner in ("templates", "month")]
    return sorted(found)


def options(lines):
    """argp's list: an option's line begins within the first 8 columns, its text from column 29 on."""
    out = []
    for line in lines:
        if re.match(r" {2,6}-\S", line):
            beside = line[28:29] == " " and line[29:30] not in ("", " ")
            name = line[:28] if beside else line
            out += [".TP", "\\fB" + roff(name.strip()) + "\\fR"]
            out += [roff(line[29:])] if beside else []
        elif re.match(r" {1,3}\S", line) and line.rstrip().endswith(":"):
            out += [".PP", roff(line.strip())]
        elif line.startswith(" " * 12):
            out.append(roff(line.strip()))
        elif line.strip():
            out += [".PP", roff(line.strip())]
    return out


def command(words, text):
    out = [f'.SS "whorl {" ".join(words)}"'.replace("-", "\\-")]
    usage, paragraph, seen = True, [], False
    lines = [line for line in text.split("\n")
             if "for any corresponding short options" not in line
             and not line.startswith("Mandatory or optional arguments")
             and "--usage" not in line and "--help  " not in line]
    rest = []
    for line in lines:
        usage = usage and re.match(r"Usage:|  or:|  +\S", line) is not None
        seen = seen or (not usage and re.match(r" {1,6}-", line) is not None)
        if usage:
            shown = re.sub(r"^(Usage:|  or:) *", "", line).strip()
            out += [".br" if out[-1] != out[0] else ".PP", "\\fB" + roff(shown) + "\\fR"]
        elif seen:
            rest.append(line)
        else:
            paragraph.append(line)
    for block in re.split(r"\n\s*\n", "\n".join(paragraph)):
        if block.strip():
            out += [".PP", *(roff(line.strip()) for line in block.strip("\n").split("\n"))]
    # What stands behind the options begins in the first column.
    tail = next((i for i, line in enumerate(rest) if re.match(r"\S", line)), len(rest))
    out += options(rest[:tail])
    paragraphs = re.split(r"\n\s*\n", "\n".join(rest[tail:]).strip("\n"))
    for block in filter(None, paragraphs):
        out += [".PP", *(roff(line.strip()) for line in block.split("\n"))]
    return out


def page_1(whorl):
    top = help_of(whorl)
    out = title("whorl", 1, "a mobile identification gateway")
    out += [".SH SYNOPSIS", "\\fBwhorl\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]", ".SH COMMANDS"]
    for name, about in re.findall(r"^  ([a-z][a-z-]*) +(\S.*)$", top, re.M):
        out += [".TP", "\\fB" + roff(name) + "\\fR", roff(about)]
    out += [".PP", "Every command takes \\fB\\-\\-help\\fR.", ".SH OPTIONS OF EACH COMMAND"]
    for words, text in commands(whorl):
        out += command(words, text)
    out += [".SH EXIT STATUS", "0 done, 1 a negative answer, 2 wrong usage, 3 failure.",
            ".SH SEE ALSO", "\\fBwhorl.conf\\fR(5), \\fBwhorl\\-plugin\\fR(7)"]
    return out


# --- the headers ---

def declarations(path):
    """(comment, declaration) of what a header declares at its outermost level; the first comment,
    which is about all of it, has no declaration."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"#ifdef __cplusplus\n.*?#endif\n", "", text, flags=re.S)
    text = re.sub(r"^#(ifndef|endif|include)\b.*\n", "", text, flags=re.M)
    text = re.sub(r"^#define \w+_H\n", "", text, flags=re.M)
    found, comment, at = [], "", 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        if text.startswith("/*", at):
            end = text.index("*/", at) + 2
            if comment:
                found.append((comment, ""))
            comment = re.sub(r"\n \* ?", "\n", text[at + 2:end - 2]).strip()
        else:
            end = declaration_end(text, at)
            found.append((comment, text[at:end].strip()))
            comment = ""
        at = end
    return found


def declaration_end(text, at):
    if text[at] == "#":
        return re.compile(r"(?<!\\)\n").search(text, at).end()
    depth = 0
    for match in re.compile(r"/\*.*?\*/|[{};]", re.S).finditer(text, at):
        token = match[0]
        depth += (token == "{") - (token == "}")
        inline = token == "}" and depth == 0 and "static inline" in text[at:match.start()]
        if depth == 0 and (token == ";" or inline):
            end = text.index("\n", match.end()) + 1 if "\n" in text[match.end():] else len(text)
            return end
    return len(text)


def page_7():
    out = title("whorl-plugin", 7, "writing a backend for Whorl") + [".SH DESCRIPTION"]
    out += markdown("docs/plugins.md")
    for folder, name in HEADERS:
        out += [f'.SH "whorl/{name}"']
        for comment, declaration in declarations(f"{folder}/{name}"):
            for block in filter(None, comment.split("\n\n")):
                out += [".PP", *(roff(line.strip()) for line in block.split("\n") if line.strip())]
            if declaration:
                out += verbatim(declaration.split("\n"))
    return out + [".SH SEE ALSO", "\\fBwhorl\\fR(1), \\fBwhorl.conf\\fR(5)"]


def page_5():
    return (title("whorl.conf", 5, "configuration of a Whorl server") + [".SH DESCRIPTION"]
            + markdown("docs/configuration.md")
            + [".SH SEE ALSO", "\\fBwhorl\\fR(1), \\fBwhorl\\-plugin\\fR(7)"])


def reference():
    out = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>Whorl: ABI reference</title>',
           "<style>body{max-width:60em;margin:2em auto;font-family:sans-serif}"
           "pre{background:#f4f4f4;padding:.6em;overflow:auto}p{white-space:pre-wrap}</style>",
           "<h1>Whorl: ABI reference</h1>"]
    for folder, name in HEADERS:
        out.append(f'<h2 id="{name}">whorl/{name}</h2>')
        for comment, declaration in declarations(f"{folder}/{name}"):
            out += [f"<p>{html.escape(comment)}</p>"] if comment else []
            out += [f"<pre>{html.escape(declaration)}</pre>"] if declaration else []
    return out + ["</html>"]


def main(whorl, out_dir):
    for name, lines in (("whorl.1", page_1(whorl)), ("whorl.conf.5", page_5()),
                        ("whorl-plugin.7", page_7()), ("abi.html", reference())):
        with open(os.path.join(out_dir, name), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
