/* What execve says of odd programs (man 2 execve): the copies of this very program that are broken
 * in one place each, and scripts. */
#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "tmpdir.h"

static char *image;
static size_t image_size;

static void read_self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat st;

	REQUIRE(fd >= 0 && fstat(fd, &st) == 0);
	image_size = (size_t)st.st_size;
	image = malloc(image_size);
	REQUIRE(image && read(fd, image, image_size) == st.st_size);
	close(fd);
}

static void write_program(const char *name, const void *data, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	REQUIRE(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	close(fd);
}

/* An errno, 1000 + a signal, or 2000 + an exit status. */
static int outcome(const char *name)
{
	int status, err = 0, p[2];
	pid_t pid;

	REQUIRE(pipe2(p, O_CLOEXEC) == 0);
	pid = fork();
	if (!pid) {
		setenv("EXEC_ODD_CHILD", "1", 1);
		execl(name, name, (char *)NULL);
		err = errno;
		write(p[1], &err, sizeof(err));
		_exit(1);
	}
	close(p[1]);
	REQUIRE(pid > 0);
	if (read(p[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(p[0]);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	if (err)
		return err;
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : 2000 + WEXITSTATUS(status);
}
#define SIGNAL(sig) (1000 + (sig))
#define EXIT(status) (2000 + (status))

/* The program with the bytes at `offset` replaced. */
static int with(size_t offset, const void *bytes, size_t n)
{
	char *copy = malloc(image_size);

	REQUIRE(copy);
	memcpy(copy, image, image_size);
	memcpy(copy + offset, bytes, n);
	write_program("odd", copy, image_size);
	free(copy);
	return outcome("./odd");
}

static int with16(size_t offset, uint16_t value)
{
	return with(offset, &value, sizeof(value));
}

static int with64(size_t offset, uint64_t value)
{
	return with(offset, &value, sizeof(value));
}

static void headers(void)
{
	/* The machine decides, not the class, not the order. */
	CHECK_EQ(with(EI_CLASS, "\1", 1), EXIT(3));
	CHECK_EQ(with(EI_DATA, "\2", 1), EXIT(3));
	CHECK_EQ(with(EI_MAG0, "x", 1), ENOEXEC);
	CHECK_EQ(with16(offsetof(Elf64_Ehdr, e_machine), EM_AARCH64), ENOEXEC);
	CHECK_EQ(with16(offsetof(Elf64_Ehdr, e_type), ET_REL), ENOEXEC);
	CHECK_EQ(with16(offsetof(Elf64_Ehdr, e_phentsize), 55), ENOEXEC);
	CHECK_EQ(with16(offsetof(Elf64_Ehdr, e_phnum), 0), ENOEXEC);
	CHECK_EQ(with16(offsetof(Elf64_Ehdr, e_phnum), 5000), ENOEXEC);
	CHECK_EQ(with64(offsetof(Elf64_Ehdr, e_phoff), 1ULL << 40), ENOEXEC);
	CHECK_EQ(with64(offsetof(Elf64_Ehdr, e_entry), 0), SIGNAL(SIGSEGV));
}

/* Found out when there is no way back: the program dies. */
static void segments(void)
{
	const Elf64_Ehdr *h = (const void *)image;
	const Elf64_Phdr *ph = (const void *)(image + h->e_phoff);
	size_t at = 0;

	for (int i = 0; i < h->e_phnum && !at; i++)
		if (ph[i].p_type == PT_LOAD)
			at = h->e_phoff + (size_t)i * sizeof(*ph);
	REQUIRE(at);
	CHECK_EQ(with64(at + offsetof(Elf64_Phdr, p_memsz), 1), SIGNAL(SIGSEGV));
	CHECK_EQ(with64(at + offsetof(Elf64_Phdr, p_vaddr), 1ULL << 60), SIGNAL(SIGSEGV));
}

static void lengths(void)
{
	write_program("odd", image, 0);
	CHECK_EQ(outcome("./odd"), ENOEXEC);
	write_program("odd", image, 1);
	CHECK_EQ(outcome("./odd"), ENOEXEC);
	write_program("odd", image, 4);
	CHECK_EQ(outcome("./odd"), ENOEXEC);
	write_program("odd", image, 64);
	CHECK_EQ(outcome("./odd"), ENOEXEC);
	write_program("odd", image, 4096);
	CHECK(outcome("./odd") > 1000);
}

/* A program whose only interesting header names an interpreter. */
static int with_interpreter(const char *name)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr ph[2];
		char interp[64];
	} p = {.h = *(const Elf64_Ehdr *)(const void *)image};

	p.h.e_phoff = offsetof(__typeof__(p), ph);
	p.h.e_phnum = 2;
	p.ph[0] = (Elf64_Phdr){.p_type = PT_INTERP,
			       .p_offset = offsetof(__typeof__(p), interp),
			       .p_filesz = strlen(name) + 1,
			       .p_memsz = strlen(name) + 1};
	p.ph[1] = (Elf64_Phdr){.p_type = PT_LOAD,
			       .p_flags = PF_R | PF_X,
			       .p_vaddr = 0x400000,
			       .p_filesz = sizeof(p),
			       .p_memsz = sizeof(p),
			       .p_align = 4096};
	strcpy(p.interp, name);
	write_program("odd", &p, sizeof(p));
	return outcome("./odd");
}

static void interpreters(void)
{
	make_file("empty", "");
	make_file("short", "#!/bin/sh\n");
	make_file("long", "#!/bin/sh\n# something that is longer than the header of an ELF file\n");
	chmod("empty", 0755);
	chmod("short", 0755);
	chmod("long", 0755);
	make_file("unexecutable", "x");
	mkdir("dir", 0755);
	CHECK_EQ(with_interpreter("./empty"), EIO);
	CHECK_EQ(with_interpreter("./short"), EIO);
	CHECK_EQ(with_interpreter("./long"), ELIBBAD);
	CHECK_EQ(with_interpreter("./unexecutable"), EACCES);
	CHECK_EQ(with_interpreter("./dir"), EACCES);
	CHECK_EQ(with_interpreter("./nowhere"), ENOENT);
}

static int script(const char *text)
{
	make_file("odd", text);
	chmod("odd", 0755);
	return outcome("./odd");
}

static void scripts(void)
{
	char blanks[301];

	memset(blanks, ' ', 300);
	blanks[300] = 0;
	memcpy(blanks, "#!", 2);
	CHECK_EQ(script("#!"), EACCES);
	CHECK_EQ(script("#! "), EACCES);
	CHECK_EQ(script("#!\n"), ENOEXEC);
	CHECK_EQ(script("#! \n"), ENOEXEC);
	CHECK_EQ(script(blanks), ENOEXEC);
	CHECK_EQ(script("#!./nowhere\n"), ENOENT);
	CHECK_EQ(script("#!./odd\n"), ELOOP);
}

int main(void)
{
	if (getenv("EXEC_ODD_CHILD"))
		return 3;
	tmpdir_enter("/tmp");
	read_self();
	headers();
	segments();
	lengths();
	interpreters();
	scripts();
	tmpdir_leave();
	CHECK_DONE();
}
