"""Writes the template's files as C strings: embed.py OUTPUT NAME=FILE ..."""
import sys


def literal(line):
    out = ""
    for byte in line.encode():
        char = chr(byte)
        out += {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}.get(
            char, char if 32 <= byte < 127 else f"\\{byte:03o}")
    return f'        "{out}"\n'


with open(sys.argv[1], "w") as c:
    c.write('#include "template.h"\n\nconst struct template_file template_files[] = {\n')
    for pair in sys.argv[2:]:
        name, path = pair.split("=", 1)
        with open(path, encoding="utf-8") as source:
            lines = "".join(literal(line) for line in source)
        c.write(f'    {{"{name}",\n{lines}    }},\n')
    c.write("    {0, 0},\n};\n")
