"""Problems, and submissions that solve them or fail in known ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, List, Tuple

MEMORY = 64 << 20


@dataclass(frozen=True)
class Problem:
    name: str
    tests: List[Tuple[str, str]]  # input, expected output
    c: str  # the statements that solve it, in main() of C and in Python
    python: str
    c_wrong: str
    python_wrong: str


@dataclass(frozen=True)
class Submission:
    number: int
    problem: Problem
    language: str  # "c" or "python"
    source: str
    expected: str


PROBLEMS = [
    Problem(
        "sum",
        [("1 2\n", "3\n"), ("-5 5\n", "0\n"), ("2000000000 2000000000\n", "4000000000\n")],
        'long a, b; if (scanf("%ld %ld", &a, &b) == 2) printf("%ld\\n", a + b);',
        "a, b = map(int, input().split()); print(a + b)",
        'int a, b; if (scanf("%d %d", &a, &b) == 2) printf("%d\\n", (int)((unsigned)a + (unsigned)b));',
        "a, b = map(int, input().split()); print(a - b)",
    ),
    Problem(
        "reverse",
        [("abc\n", "cba\n"), ("x\n", "x\n")],
        'char s[100]; if (scanf("%99s", s) == 1) { for (int i = (int)strlen(s); i--;) putchar(s[i]); puts(""); }',
        "print(input()[::-1])",
        'char s[100]; if (scanf("%99s", s) == 1) puts(s);',
        "print(input())",
    ),
    Problem(
        "primes",
        [("10\n", "4\n"), ("1000\n", "168\n")],
        'int n, c = 0; if (scanf("%d", &n) != 1) return 1;'
        " for (int i = 2; i <= n; i++) { int p = 1; for (int j = 2; j * j <= i; j++) p &= i % j != 0; c += p; }"
        ' printf("%d\\n", c);',
        "n = int(input()); print(sum(all(i % j for j in range(2, int(i ** 0.5) + 1)) for i in range(2, n + 1)))",
        'int n; if (scanf("%d", &n) != 1) return 1; printf("%d\\n", n / 2);',
        "n = int(input()); print(n // 2)",
    ),
    Problem(
        "sorted",
        [("3 1 2\n", "1 2 3\n"), ("10 9 -1\n", "-1 9 10\n")],
        "int a[100], n = 0; while (n < 100 && scanf(\"%d\", &a[n]) == 1) n++;"
        " for (int i = 0; i < n; i++) for (int j = 0; j < i; j++) if (a[j] > a[i]) { int t = a[i]; a[i] = a[j]; a[j] = t; }"
        ' for (int i = 0; i < n; i++) printf(i ? " %d" : "%d", a[i]); puts("");',
        "print(*sorted(map(int, input().split())))",
        'int a; while (scanf("%d", &a) == 1) printf("%d ", a); puts("");',
        "print(*sorted(input().split(), reverse=True))",
    ),
]

# Programs that fail whatever they are asked: verdict, C, Python.
FAILURES = [
    ("TLE", "pause();", "import time\ntime.sleep(1000)"),
    ("TLE", "for (volatile int i = 0;; i++) ;", "while True: pass"),
    (
        "MLE",
        "for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); }",
        "a = []\nwhile True: a.append('x' * (1 << 20))",
    ),
    ("RE", "volatile int *p = 0; *p = 1;", "import os\nos.kill(os.getpid(), 11)"),
    ("OLE", 'for (;;) puts("output");', "while True: print('output')"),
    ("RE", "return 3;", "print(1 // 0)"),
    ("RE", "abort();", "[][0]"),
    ("RE", 'if (!fopen("/etc/passwd", "a")) return 13; puts("written");', "open('/usr/x', 'w')"),
    # Processes are limited: fork fails at last.
    ("RE", "while (fork() >= 0) ; kill(0, SIGKILL);", "import os\nwhile True:\n    if not os.fork(): os.read(os.pipe()[0], 1)"),
    # Ignores what can be ignored, and leaves a process that would go on for ever.
    (
        "TLE",
        "for (int i = 1; i < 32; i++) signal(i, SIG_IGN); if (!fork()) setsid(); for (;;) pause();",
        "import os, signal, time\nfor i in (1, 2, 15): signal.signal(i, signal.SIG_IGN)\nos.fork()\ntime.sleep(1000)",
    ),
]

HEAD = "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"


def c(statements: str, number: int) -> str:
    # Sources differ, as people's do.
    return f"{HEAD}/* {number} */\nint main(void)\n{{\n\t{statements}\n\treturn 0;\n}}\n"


def make(count: int) -> Iterator[Submission]:
    """So many, half of them in C; half of them right, the others wrong in all ways there are."""
    for number in range(count):
        problem = PROBLEMS[number // 2 % len(PROBLEMS)]
        language = ("c", "python")[number % 2]
        kind = number // 2
        if kind % 2 == 0:
            expected, for_c, for_python = "OK", problem.c, problem.python
        elif kind % 12 == 1:
            expected, for_c, for_python = "WA", problem.c_wrong, problem.python_wrong
        elif kind % 24 == 11:
            expected, for_c, for_python = "CE", "return nothing", "print(("
        else:
            expected, for_c, for_python = FAILURES[kind // 2 % len(FAILURES)]
        source = c(for_c, number) if language == "c" else f"# {number}\n{for_python}\n"
        yield Submission(number, problem, language, source, expected)
