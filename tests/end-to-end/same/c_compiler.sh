#!/bin/bash
# gcc and g++: several files, make -j4, run; a shared library; a crash.
command -v g++ >/dev/null || exit 77
for i in $(seq 8); do printf '#include "all.h"\nint f%d(int x) { char b[32]; snprintf(b, 32, "%%d", x); return (int)strlen(b) + %d; }\n' "$i" "$i" >"f$i.c"; done
{ printf '#include <stdio.h>\n#include <string.h>\n'; for i in $(seq 8); do echo "int f$i(int);"; done; } >all.h
{ printf '#include "all.h"\nint main(void) { printf("%%d\\n", 0'; for i in $(seq 8); do printf ' + f%d(%d)' "$i" $((i * 100)); done; printf '); return 6; }\n'; } >main.c
printf 'CFLAGS = -O2 -Wall\nobjects = $(patsubst %%.c,%%.o,$(sort $(wildcard *.c)))\nprog: $(objects)\n\t$(CC) -o $@ $^\n%%.o: %%.c all.h\n\t$(CC) $(CFLAGS) -c -o $@ $<\n' >Makefile
make -s -j4 && ./prog; echo "status $?"; touch f3.c; make -j4 | grep -c f3
cat >x.cc <<'EOF'
#include <algorithm>
#include <iostream>
#include <map>
#include <stdexcept>
#include <thread>
#include <vector>
#include <atomic>
int main()
{
	std::map<std::string, std::vector<int>> m; std::atomic<long> sum{0}; std::vector<std::thread> ts;
	for (int i = 0; i < 1000; i++) m[std::to_string(i % 7)].push_back(i);
	for (int i = 0; i < 8; i++) ts.emplace_back([&, i] { for (int j = 0; j < 10000; j++) sum += i; });
	for (auto &t : ts) t.join();
	try { throw std::runtime_error("thrown"); } catch (const std::exception &e) { std::cout << e.what() << " " << m["3"].size() << " " << sum << "\n"; }
}
EOF
g++ -O1 -pthread -o x x.cc && ./x; echo "status $?"
printf 'int answer(void) { return 42; }\n' >lib.c; gcc -shared -fPIC -o libanswer.so lib.c
printf '#include <stdio.h>\nint answer(void);\nint main(void) { printf("%%d\\n", answer()); }\n' >use.c; gcc -o use use.c -L. -lanswer -Wl,-rpath,"$PWD" && ./use
gcc -static -o static use.c lib.c && ./static; gcc -no-pie -o nopie use.c lib.c && ./nopie; gcc -static-pie -o spie use.c lib.c && ./spie
printf 'int main(void) { return *(volatile int *)8; }\n' >crash.c; gcc -o crash crash.c; (./crash) 2>/dev/null; echo "crash $?"
printf 'int main(void) { __builtin_trap(); }\n' >trap.c; gcc -o trap trap.c; (./trap) 2>/dev/null; echo "trap $?"
printf 'int main(void) { int z = 0; return 1 / *(volatile int *)&z; }\n' >div.c; gcc -o div div.c; (./div) 2>/dev/null; echo "div $?"
printf 'int f(int x) { volatile char b[4096]; b[0] = x; return x ? f(x + 1) + b[0] : 0; }\nint main(void) { return f(1); }\n' >deep.c; gcc -O0 -o deep deep.c; (./deep) 2>/dev/null; echo "deep $?"
gcc -c missing.c; echo "status $?"; printf 'int main(void) { return x; }\n' >bad.c; gcc bad.c 2>&1 | grep -c error
