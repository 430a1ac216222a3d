/* /proc/self: what a process reads about itself (man 5 proc). */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

static char text[1 << 20];

static char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n, len = 0;

	text[0] = 0;
	if (fd < 0) {
		printf("%s: %s\n", path, strerror(errno));
		check_failures++;
		return text;
	}
	while ((n = read(fd, text + len, sizeof(text) - 1 - (size_t)len)) > 0)
		len += n;
	CHECK_EQ(n, 0);
	text[len] = 0;
	close(fd);
	return text;
}

static char *field(const char *name)
{
	static char value[256];
	char *at = strstr(slurp("/proc/self/status"), name);

	value[0] = 0;
	if (!at) {
		printf("status has no %s\n", name);
		check_failures++;
		return value;
	}
	sscanf(at + strlen(name), ":%*[ \t]%255[^\n]", value);
	return value;
}

static void links(void)
{
	char buf[4096], want[64], cwd[4096];
	ssize_t n = readlink("/proc/self", buf, sizeof(buf) - 1);

	REQUIRE(n > 0);
	buf[n] = 0;
	CHECK_EQ(atoi(buf), getpid());
	n = readlink("/proc/thread-self", buf, sizeof(buf) - 1);
	REQUIRE(n > 0);
	buf[n] = 0;
	snprintf(want, sizeof(want), "%d/task/%ld", getpid(), syscall(SYS_gettid));
	CHECK(!strcmp(buf, want));
	REQUIRE(chdir("/tmp") == 0);
	n = readlink("/proc/self/cwd", buf, sizeof(buf) - 1);
	REQUIRE(n > 0);
	buf[n] = 0;
	CHECK(!strcmp(buf, getcwd(cwd, sizeof(cwd))));
	n = readlink("/proc/self/root", buf, sizeof(buf) - 1);
	CHECK_EQ(n, 1);
	CHECK_EQ(buf[0], '/');
	n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);
	REQUIRE(n > 0);
	buf[n] = 0;
	CHECK_EQ(access(buf, X_OK), 0);
	CHECK_ERRNO(readlink("/proc/self/stat", buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(open("/proc/self/nonexistent", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("/proc/99999999", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("/proc/01", O_RDONLY), ENOENT);
	CHECK(open("/proc/newfile", O_RDWR | O_CREAT, 0600) < 0);
	CHECK(mkdir("/proc/newdir", 0700) < 0);
	CHECK(unlink("/proc/self/stat") < 0);
}

static void stat_and_status(void)
{
	int pid, ppid, pgrp, sid;
	char comm[64], state;
	char *close_paren;
	unsigned long vsize, start;

	prctl(PR_SET_NAME, "we (ird) x");
	slurp("/proc/self/stat");
	CHECK_EQ(sscanf(text, "%d (%63[^\n]", &pid, comm), 2);
	close_paren = strrchr(text, ')');
	REQUIRE(close_paren);
	CHECK(strstr(text, "(we (ird) x) R "));
	CHECK_EQ(sscanf(close_paren + 2, "%c %d %d %d", &state, &ppid, &pgrp, &sid), 4);
	CHECK_EQ(pid, getpid());
	CHECK_EQ(ppid, getppid());
	CHECK_EQ(pgrp, getpgrp());
	CHECK_EQ(sid, getsid(0));
	CHECK_EQ(sscanf(close_paren + 2,
			"%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			"%*d "
			"%lu %lu",
			&start, &vsize),
		 2);
	CHECK(vsize > 4096);
	{
		int fields = 2;

		for (char *p = close_paren + 1; *p; p++)
			fields += *p == ' ';
		CHECK_EQ(fields, 52);
	}
	CHECK_EQ(text[strlen(text) - 1], '\n');

	CHECK(!strcmp(field("Name"), "we (ird) x"));
	CHECK_EQ(atoi(field("Pid")), getpid());
	CHECK_EQ(atoi(field("PPid")), getppid());
	CHECK_EQ(atoi(field("Uid")), (int)getuid());
	CHECK_EQ(atoi(field("Threads")), 1);
	CHECK(atoi(field("VmSize")) > 4);
	CHECK(atoi(field("VmRSS")) > 4);
	CHECK(strstr(field("State"), "R (running)"));
	signal(SIGUSR1, SIG_IGN);
	CHECK_EQ(strtoull(field("SigIgn"), NULL, 16) & (1ULL << (SIGUSR1 - 1)),
		 1ULL << (SIGUSR1 - 1));
	{
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		sigprocmask(SIG_BLOCK, &set, NULL);
		raise(SIGUSR2);
		CHECK_EQ(strtoull(field("SigBlk"), NULL, 16), 1ULL << (SIGUSR2 - 1));
		CHECK_EQ(strtoull(field("SigPnd"), NULL, 16) | strtoull(field("ShdPnd"), NULL, 16),
			 1ULL << (SIGUSR2 - 1));
		signal(SIGUSR2, SIG_IGN);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	umask(027);
	CHECK(!strcmp(field("Umask"), "0027"));

	slurp("/proc/self/statm");
	CHECK_EQ(sscanf(text, "%lu", &start), 1);
	CHECK(start > 1);
}

static void comm_and_limits(void)
{
	struct rlimit r = {100, 200};
	int fd = open("/proc/self/comm", O_RDWR);
	char name[17] = {0};

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "a-name-that-is-too-long", 23), 23);
	close(fd);
	prctl(PR_GET_NAME, name);
	CHECK(!strcmp(name, "a-name-that-is-"));
	CHECK(!strcmp(slurp("/proc/self/comm"), "a-name-that-is-\n"));
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
	CHECK(strstr(slurp("/proc/self/limits"), "Max open files            100                  "
						 "200                  files     \n"));
	CHECK(strstr(text,
		     "Limit                     Soft Limit           Hard Limit           Units"));
}

static void maps(void)
{
	char line[256], *anon = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long start, end, here = (unsigned long)(void *)maps, stack = (unsigned long)&start;
	int saw_code = 0, saw_stack = 0;

	mprotect(anon + 4096, 4096, PROT_READ | PROT_WRITE);
	slurp("/proc/self/maps");
	snprintf(line, sizeof(line), "%lx-%lx rw-p 00000000 00:00 0 \n", (unsigned long)anon + 4096,
		 (unsigned long)anon + 8192);
	CHECK(strstr(text, line));
	for (char *p = strtok(text, "\n"); p; p = strtok(NULL, "\n")) {
		char perms[5];

		CHECK_EQ(sscanf(p, "%lx-%lx %4s", &start, &end, perms), 3);
		CHECK(start < end);
		if (here >= start && here < end) {
			saw_code = !strcmp(perms, "r-xp");
			CHECK(strlen(p) > 73 && p[73] == '/' && p[72] == ' ');
		}
		if (stack >= start && stack < end)
			saw_stack = strstr(p, "[stack]") != NULL;
	}
	CHECK(saw_code);
	CHECK(saw_stack);
}

static void mem(void)
{
	int fd = open("/proc/self/mem", O_RDWR), n;
	static volatile int target = 42;
	const char *ro = "constant";
	char buf[16];

	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, &n, sizeof(n), (off_t)(unsigned long)&target), 4);
	CHECK_EQ(n, 42);
	n = 43;
	CHECK_EQ(pwrite(fd, &n, sizeof(n), (off_t)(unsigned long)&target), 4);
	CHECK_EQ(target, 43);
	CHECK_EQ(pread(fd, buf, 8, (off_t)(unsigned long)ro), 8);
	CHECK(!memcmp(buf, "constant", 8));
	CHECK_ERRNO(pread(fd, buf, 8, 0), EIO);
	close(fd);
}

static void strings(int argc, char **argv)
{
	Elf64_auxv_t auxv[64];
	int fd;
	ssize_t n;

	slurp("/proc/self/cmdline");
	CHECK(!strcmp(text, argv[0]));
	setenv("LATER", "not seen", 1);
	fd = open("/proc/self/auxv", O_RDONLY);
	n = read(fd, auxv, sizeof(auxv));
	close(fd);
	CHECK(n > 0 && n % (ssize_t)sizeof(auxv[0]) == 0);
	for (int i = 0; i < n / (ssize_t)sizeof(auxv[0]); i++)
		if (auxv[i].a_type == AT_PHDR)
			CHECK_EQ(auxv[i].a_un.a_val, getauxval(AT_PHDR));
}

static void fds(void)
{
	char buf[256], path[64];
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), p[2], found = 0, again;
	ssize_t n;
	struct stat st, st2;
	struct dirent *e;
	DIR *d;

	REQUIRE(fd >= 0 && pipe(p) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, buf, sizeof(buf));
	CHECK(n == 4 && !memcmp(buf, "/tmp", 4));
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(stat("/tmp", &st2), 0);
	CHECK_EQ(st.st_ino, st2.st_ino);
	CHECK_EQ(lstat(path, &st), 0);
	CHECK_EQ(st.st_mode, S_IFLNK | 0500);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[1]);
	CHECK_EQ(lstat(path, &st), 0);
	CHECK_EQ(st.st_mode, S_IFLNK | 0300);
	n = readlink(path, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	CHECK(!strncmp(buf, "pipe:[", 6));
	again = open(path, O_WRONLY); /* a pipe opened again by its magic link */
	CHECK(again >= 0);
	CHECK_EQ(write(again, "x", 1), 1);
	CHECK_EQ(read(p[0], buf, 1), 1);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	slurp(path);
	CHECK(strstr(text, "pos:\t0\nflags:\t0"));
	CHECK_EQ(strtol(strstr(text, "flags:") + 7, NULL, 8) & (O_CLOEXEC | O_DIRECTORY),
		 O_CLOEXEC | O_DIRECTORY);
	d = opendir("/proc/self/fd");
	REQUIRE(d);
	while ((e = readdir(d)))
		found += e->d_name[0] != '.' && (atoi(e->d_name) == fd || atoi(e->d_name) == p[0]);
	closedir(d);
	CHECK_EQ(found, 2);
	close(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK_ERRNO(readlink(path, buf, sizeof(buf)), ENOENT);
	/* the same number for another file */
	CHECK_EQ(dup2(p[0], fd), fd);
	n = readlink(path, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	CHECK(!strncmp(buf, "pipe:[", 6));
}

static pthread_barrier_t barrier;
static pid_t other_tid;

static void *other_thread(void *arg)
{
	other_tid = (pid_t)syscall(SYS_gettid);
	prctl(PR_SET_NAME, "other");
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void threads(void)
{
	pthread_t t;
	char path[64];
	struct dirent *e;
	int count = 0;
	DIR *d;

	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&t, NULL, other_thread, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(atoi(field("Threads")), 2);
	d = opendir("/proc/self/task");
	REQUIRE(d);
	while ((e = readdir(d)))
		count += e->d_name[0] != '.';
	closedir(d);
	CHECK_EQ(count, 2);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", other_tid);
	CHECK(!strcmp(slurp(path), "other\n"));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	for (int i = 0; i < 20000 && access(path, F_OK) == 0; i++)
		usleep(1000);
	CHECK_ERRNO(open(path, O_RDONLY), ENOENT);
}

static void namespaces(void)
{
	char buf[64];
	struct stat st;
	ssize_t n = readlink("/proc/self/ns/uts", buf, sizeof(buf) - 1);
	unsigned long num;

	REQUIRE(n > 0);
	buf[n] = 0;
	CHECK_EQ(sscanf(buf, "uts:[%lu]", &num), 1);
	CHECK_EQ(stat("/proc/self/ns/uts", &st), 0);
	CHECK_EQ(st.st_ino, num);
	CHECK(readlink("/proc/self/ns/pid_for_children", buf, sizeof(buf)) > 4);
	CHECK(!memcmp(buf, "pid:", 4));
}

/* A counter of the mapping at p in smaps, or (p NULL) of smaps_rollup; in kB. */
static long smaps(const void *p, const char *name)
{
	FILE *f = fopen(p ? "/proc/self/smaps" : "/proc/self/smaps_rollup", "r");
	unsigned long from, to;
	char line[512];
	long value = -1;
	int here = !p;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f)) {
		if (p && sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (unsigned long)p >= from && (unsigned long)p < to;
		else if (here && value < 0 && !strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld kB", &value);
	}
	fclose(f);
	return value;
}

static void resident_memory(void)
{
	enum { PAGES = 64 };
	long before = smaps(NULL, "Rss");
	/* Borders that nothing joins. */
	char *p = mmap(NULL, (PAGES + 2) * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(p != MAP_FAILED);
	p += 4096;
	CHECK_EQ(mprotect(p, PAGES * 4096, PROT_READ | PROT_WRITE), 0);
	madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
	CHECK_EQ(smaps(p, "Size"), PAGES * 4);
	CHECK_EQ(smaps(p, "Rss"), 0);
	memset(p, 1, PAGES / 2 * 4096);
	CHECK_EQ(smaps(p, "Rss"), PAGES / 2 * 4);
	CHECK_EQ(smaps(p, "Pss"), PAGES / 2 * 4);
	CHECK_EQ(smaps(p, "Private_Dirty"), PAGES / 2 * 4);
	CHECK_EQ(smaps(p, "Anonymous"), PAGES / 2 * 4);
	CHECK_EQ(smaps(p, "Shared_Clean"), 0);
	CHECK(smaps(NULL, "Rss") >= before + PAGES / 2 * 4);
	CHECK(smaps(NULL, "Pss") > 0 && smaps(NULL, "Pss") <= smaps(NULL, "Rss"));
	munmap(p - 4096, (PAGES + 2) * 4096);
}

struct io {
	unsigned long rchar, wchar, syscr, syscw, length;
};

static void read_io(struct io *io)
{
	char buf[512];
	int fd = open("/proc/self/io", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	REQUIRE(n > 0);
	close(fd);
	buf[n] = 0;
	io->length = (unsigned long)n;
	CHECK_EQ(sscanf(buf, "rchar: %lu\nwchar: %lu\nsyscr: %lu\nsyscw: %lu", &io->rchar,
			&io->wchar, &io->syscr, &io->syscw),
		 4);
}

/* What read(2) and write(2) have moved. */
static void io(void)
{
	struct io a, b;
	char buf[100];
	int in = open("/dev/zero", O_RDONLY), out = open("/dev/null", O_WRONLY);

	read_io(&a);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(read(in, buf, sizeof(buf)), sizeof(buf));
	CHECK_EQ(write(out, buf, 50), 50);
	CHECK_EQ(pwrite(out, buf, 50, 0), 50);
	read_io(&b);
	CHECK_EQ(b.rchar - a.rchar, 300 + a.length);
	CHECK_EQ(b.wchar - a.wchar, 100);
	CHECK_EQ(b.syscr - a.syscr, 4);
	CHECK_EQ(b.syscw - a.syscw, 2);
	close(in);
	close(out);
}

int main(int argc, char **argv)
{
	alarm(58);
	links();
	stat_and_status();
	maps();
	mem();
	strings(argc, argv);
	fds();
	threads();
	namespaces();
	comm_and_limits();
	resident_memory();
	io();
	CHECK_DONE();
}
