/* Core files (man 5 core): when there is one, where, and what is in it. */
#include <elf.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tmpdir.h"

static char *map_core(const char *name, size_t *size)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	char *p;

	REQUIRE(fd >= 0);
	REQUIRE(fstat(fd, &st) == 0);
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	CHECK_EQ(st.st_uid, geteuid());
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(p != MAP_FAILED);
	close(fd);
	*size = st.st_size;
	return p;
}

static const Elf64_Phdr *headers(const char *core)
{
	return (const Elf64_Phdr *)(core + ((const Elf64_Ehdr *)core)->e_phoff);
}

/* The nth note of the type: its contents. */
static const char *find_note(const char *core, uint32_t type, int nth, size_t *len)
{
	const Elf64_Phdr *ph = headers(core);
	const char *p = core + ph->p_offset, *end = p + ph->p_filesz;

	REQUIRE(ph->p_type == PT_NOTE);
	while (p < end) {
		const Elf64_Nhdr *h = (const Elf64_Nhdr *)p;
		const char *name = p + sizeof(*h), *data = name + ((h->n_namesz + 3) & ~3U);

		if (h->n_type == type && !nth--) {
			*len = h->n_descsz;
			return data;
		}
		p = data + ((h->n_descsz + 3) & ~3U);
	}
	return NULL;
}

/* What the core file has of this address; NULL: nothing. */
static const char *memory_at(const char *core, size_t size, const void *addr)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)core;
	const Elf64_Phdr *ph = headers(core);

	for (int i = 0; i < eh->e_phnum; i++) {
		uint64_t off = (uint64_t)addr - ph[i].p_vaddr;

		if (ph[i].p_type == PT_LOAD && (uint64_t)addr >= ph[i].p_vaddr &&
		    off < ph[i].p_filesz && ph[i].p_offset + off < size)
			return core + ph[i].p_offset + off;
	}
	return NULL;
}

static int run(void (*child)(void), rlim_t limit)
{
	struct rlimit rl = {limit, RLIM_INFINITY};
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &rl);
		child();
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static char marker[64];
static char *anonymous, *hidden, *shared, *half;

static void *wait_here(void *arg)
{
	pthread_barrier_wait(arg);
	for (;;)
		pause();
	return NULL;
}

static void with_threads(void)
{
	pthread_barrier_t all;
	pthread_t t;

	pthread_barrier_init(&all, NULL, 3);
	pthread_create(&t, NULL, wait_here, &all);
	pthread_create(&t, NULL, wait_here, &all);
	pthread_barrier_wait(&all);
	strcpy(marker, "written by the child");
	strcpy(anonymous, "anonymous");
	strcpy(hidden, "hidden");
	strcpy(shared, "shared");
	strcpy(half + 65536, "in the middle");
	prctl(PR_SET_NAME, "dumper");
	/* A value to look for in a register. */
	asm volatile("movabs $0x1122334455667788, %%r15\n\tud2" ::: "r15");
}

static void look_into(const char *name)
{
	size_t size, len;
	char *core = map_core(name, &size);
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)core;
	const struct elf_prstatus *st;
	const struct elf_prpsinfo *info;
	const siginfo_t *si;
	const uint64_t *auxv, *files;
	const char *p;

	REQUIRE(size > sizeof(*eh) && !memcmp(eh->e_ident, ELFMAG, SELFMAG));
	CHECK_EQ(eh->e_type, ET_CORE);
	st = (const void *)find_note(core, NT_PRSTATUS, 0, &len);
	REQUIRE(st && len == sizeof(*st));
	CHECK_EQ(st->pr_cursig, SIGILL);
	CHECK_EQ(st->pr_reg[0], 0x1122334455667788);
	CHECK_EQ(st->pr_ppid, getpid());
	CHECK(find_note(core, NT_PRSTATUS, 1, &len) && find_note(core, NT_PRSTATUS, 2, &len));
	CHECK(!find_note(core, NT_PRSTATUS, 3, &len));
	CHECK(find_note(core, NT_PRFPREG, 2, &len));
	info = (const void *)find_note(core, NT_PRPSINFO, 0, &len);
	REQUIRE(info && len == sizeof(*info));
	CHECK(!strcmp(info->pr_fname, "dumper"));
	CHECK(strstr(info->pr_psargs, "coredump"));
	CHECK_EQ(info->pr_pid, st->pr_pid);
	si = (const void *)find_note(core, NT_SIGINFO, 0, &len);
	REQUIRE(si && len == sizeof(*si));
	CHECK_EQ(si->si_signo, SIGILL);
	CHECK_EQ(si->si_code, ILL_ILLOPN);
	CHECK_EQ(si->si_addr, st->pr_reg[16]); /* rip */
	auxv = (const void *)find_note(core, NT_AUXV, 0, &len);
	CHECK(auxv && len >= 16);
	files = (const void *)find_note(core, NT_FILE, 0, &len);
	CHECK(files && files[0] >= 1 && files[1] == 4096);
	p = memory_at(core, size, marker);
	CHECK(p && !strcmp(p, "written by the child"));
	p = memory_at(core, size, anonymous);
	CHECK(p && !strcmp(p, "anonymous"));
	CHECK(!memory_at(core, size, hidden)); /* MADV_DONTDUMP */
	p = memory_at(core, size, shared);
	CHECK(p && !strcmp(p, "shared"));
	p = memory_at(core, size, half + 65536);
	CHECK(p && !strcmp(p, "in the middle"));
	p = memory_at(core, size, half);
	CHECK(p && !p[0] && !p[65535]);
	/* The stack of the thread that did it. */
	CHECK(memory_at(core, size, (void *)st->pr_reg[19]));
	munmap(core, size);
}

static void aborts(void)
{
	abort();
}

static void killed(void)
{
	raise(SIGTERM);
}

static void not_dumpable(void)
{
	CHECK_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
	CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
	abort();
}

static void where_nobody_writes(void)
{
	chdir("/proc");
	abort();
}

static void without_anonymous(void)
{
	int fd = open("/proc/self/coredump_filter", O_WRONLY);

	write(fd, "0x10", 4);
	strcpy(anonymous, "anonymous");
	abort();
}

static void when(void)
{
	struct stat st;
	int status = run(aborts, RLIM_INFINITY);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	CHECK_EQ(unlink("core"), 0);
	status = run(aborts, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
	status = run(killed, RLIM_INFINITY);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM && !WCOREDUMP(status));
	status = run(not_dumpable, RLIM_INFINITY);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
	status = run(where_nobody_writes, RLIM_INFINITY);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
	CHECK_ERRNO(stat("core", &st), ENOENT);
	/* RLIMIT_CORE cuts it; holes do not count. */
	status = run(aborts, 8192);
	CHECK(WCOREDUMP(status));
	CHECK_EQ(stat("core", &st), 0);
	CHECK(st.st_size <= 8192);
	CHECK_EQ(unlink("core"), 0);
}

static void breaks_a_rule(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	signal(SIGSYS, SIG_IGN);
	syscall(SYS_getppid);
}

static void by_seccomp(void)
{
	int status = run(breaks_a_rule, RLIM_INFINITY);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && WCOREDUMP(status));
	CHECK_EQ(unlink("core"), 0);
}

/* What is there already is taken away; what a symbolic link points to is not written to. */
static void in_the_way(void)
{
	char buf[8] = "";
	int fd = open("precious", O_CREAT | O_RDWR, 0644), status;

	write(fd, "precious", 8);
	CHECK_EQ(symlink("precious", "core"), 0);
	status = run(aborts, RLIM_INFINITY);
	CHECK(WCOREDUMP(status));
	CHECK_EQ(pread(fd, buf, 8, 0), 8);
	CHECK(!memcmp(buf, "precious", 8));
	CHECK_EQ(unlink("core"), 0);
	CHECK_EQ(mkdir("core", 0700), 0);
	status = run(aborts, RLIM_INFINITY);
	CHECK(WIFSIGNALED(status) && !WCOREDUMP(status));
	CHECK_EQ(rmdir("core"), 0);
	close(fd);
	unlink("precious");
}

static void chosen_by_filter(void)
{
	size_t size;
	char *core;

	CHECK(WCOREDUMP(run(without_anonymous, RLIM_INFINITY)));
	core = map_core("core", &size);
	CHECK(!memory_at(core, size, anonymous));
	munmap(core, size);
	unlink("core");
}

int main(void)
{
	char pattern[256] = "";
	int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY), status;

	read(fd, pattern, sizeof(pattern) - 1);
	close(fd);
	fd = open("/proc/sys/kernel/core_uses_pid", O_RDONLY);
	read(fd, pattern + strlen(pattern), 8);
	close(fd);
	if (strcmp(pattern, "core\n0\n")) {
		printf("core_pattern of this host: %s\n", pattern);
		return 0;
	}
	anonymous = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hidden = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	half = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(madvise(hidden, 4096, MADV_DONTDUMP), 0);
	tmpdir_enter("/tmp");
	status = run(with_threads, RLIM_INFINITY);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL && WCOREDUMP(status));
	look_into("core");
	unlink("core");
	when();
	by_seccomp();
	in_the_way();
	chosen_by_filter();
	tmpdir_leave();
	CHECK_DONE();
}
