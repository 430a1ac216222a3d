#include "sentry/platform/shared/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

_Static_assert(STUB_TEXT == 0x7ff000000000 && STUB_TEXT_SIZE == 0x10000 &&
		       STUB_MEMORY == 0x7ff040000000 && STUB_MEMORY_SIZE == 0x10000000 &&
		       ZYGOTE_STACK_TOP == 0x10000,
	       "layout_asm.h says so");

extern const char stub_image[], stub_image_end[];

const struct stub_header *stub_header(void)
{
	return (const struct stub_header *)stub_image;
}

/* A sealed memfd that holds the stub and its configuration: nobody can change what all stubs
 * execute and install. */
static int make_text_fd(const struct stub_config *config)
{
	size_t size = (size_t)(stub_image_end - stub_image);
	int fd = memfd_create("moat-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, STUB_TEXT_SIZE) || pwrite(fd, stub_image, size, 0) != (ssize_t)size ||
	    pwrite(fd, config, sizeof(*config), STUB_CONFIG_OFFSET) != sizeof(*config) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
		close(fd);
		return -errno;
	}
	return fd;
}

/*
 * In the zygote, still on the sentry's memory: jumps into the stub, which maps itself where it
 * belongs. That may be where the host has put the program that we are, so: from here on none of our
 * code but this function.
 */
#define raw_syscall(nr, a, b, c, d, e, f)                                                          \
	({                                                                                         \
		long ret_;                                                                         \
		register long r10_ __asm__("r10") = (long)(d);                                     \
		register long r8_ __asm__("r8") = (long)(e);                                       \
		register long r9_ __asm__("r9") = (long)(f);                                       \
		__asm__ volatile("syscall"                                                         \
				 : "=a"(ret_)                                                      \
				 : "a"((long)(nr)), "D"((long)(a)), "S"((long)(b)),                \
				   "d"((long)(c)), "r"(r10_), "r"(r8_), "r"(r9_)                   \
				 : "rcx", "r11", "memory");                                        \
		ret_;                                                                              \
	})

__attribute__((noinline, noreturn, no_stack_protector,
	       no_sanitize("address", "undefined", "thread"))) static void
zygote_enter(int text_fd, int memory_fd, uint64_t entry, uint64_t rseq_area)
{
	if (rseq_area)
		raw_syscall(SYS_rseq, rseq_area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG, 0, 0);
	raw_syscall(SYS_prctl, 15 /* PR_SET_NAME */, "moat-stub", 0, 0, 0, 0);
	raw_syscall(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL, 0, 0, 0, 0);
	if (raw_syscall(SYS_mmap, ZYGOTE_TEXT, STUB_TEXT_SIZE, PROT_READ | PROT_EXEC,
			MAP_PRIVATE | MAP_FIXED, text_fd, 0) == (long)ZYGOTE_TEXT)
		__asm__ volatile("jmp *%0"
				 :
				 : "r"(ZYGOTE_TEXT + entry), "D"((long)text_fd),
				   "S"((long)memory_fd)
				 : "memory");
	raw_syscall(SYS_exit, 1, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

static uint64_t own_rseq_area(void)
{
	if (!__rseq_size)
		return 0;
	return (uint64_t)((char *)__builtin_thread_pointer() + __rseq_offset);
}

pid_t zygote_spawn(const struct stub_config *config, int memory_fd, int exit_signal)
{
	uint64_t rseq_area = own_rseq_area();
	int text_fd;
	pid_t pid;

	BUG_ON(stub_header()->magic != STUB_MAGIC);
	text_fd = make_text_fd(config);
	if (text_fd < 0)
		return text_fd;
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | exit_signal, 0, 0, 0, 0);
	if (pid == 0)
		zygote_enter(text_fd, memory_fd, stub_header()->zygote_entry, rseq_area);
	return pid < 0 ? -errno : pid;
}
