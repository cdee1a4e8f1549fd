"""Prints what came of it: rows of scenarios, columns of drivers, and the reasons below."""

import textwrap


def show(title, columns, rows, cells):
    """A matrix. `cells`: by column and row; what is not in it was not played, and has a dot."""
    names = [column.name for column in columns]
    width = max(len(row) for row in rows)
    print(f"\n{title}\n")
    heads = [name.split("/") for name in names]
    widths = [max(4, *map(len, head)) for head in heads]
    for line in range(max(map(len, heads))):
        texts = [head[line] if line < len(head) else "" for head in heads]
        print(" " * width, *(text.ljust(wide) for text, wide in zip(texts, widths, strict=True)), sep="  ")
    for row in rows:
        found = [cells.get((name, row)) for name in names]
        texts = [cell.outcome if cell else "." for cell in found]
        print(row.ljust(width), *(text.ljust(wide) for text, wide in zip(texts, widths, strict=True)), sep="  ")


def explain(cells):
    """Why a cell is not ok, for those that are not."""
    for cell in cells:
        if cell.outcome != "ok":
            print(f"\n{cell.outcome} {cell.column}: {cell.row}")
            print(textwrap.indent(cell.reason.rstrip(), "    "))


def speeds(results):
    """Benchmark lines: by column the nanoseconds of a read, or why there are none."""
    print("\nA read from memory while the stream is up, one thread:\n")
    for column, found in results:
        if isinstance(found, str):
            print(f"{column.name:18} no result, see above")
            continue
        verdict = "ok" if found < column.goal else "MISSED"
        print(f"{column.name:18} {found:8.0f} ns per read   goal under {column.goal} ns   {verdict}")
