/* The guest's FPU state: with the thread, in the host's kernel. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/fpstate.h"
#include "sentry/platform/shared/stub_host.h"

/* What the kernel takes and gives: exactly so many bytes. */
static size_t regset_size;

static uint64_t regset(void)
{
	return stub_host.features & STUB_XSAVE ? NT_X86_XSTATE : NT_PRFPREG;
}

static int transfer(struct tracee *t, int request, void *image, size_t *size)
{
	struct iovec iov = {image, *size};

	if (syscall(SYS_ptrace, request, t->head.tid, regset(), &iov))
		return -errno;
	*size = iov.iov_len;
	return 0;
}

int fpu_save(struct tracee *t, void *image)
{
	size_t size = FPSTATE_MAX;

	return transfer(t, PTRACE_GETREGSET, image, &size);
}

int fpu_load(struct tracee *t, void *image)
{
	size_t size = regset_size;

	return transfer(t, PTRACE_SETREGSET, image, &size);
}

int fpu_init(struct tracee *t)
{
	char image[FPSTATE_MAX] = {0};
	int ret;

	regset_size = sizeof(image);
	ret = transfer(t, PTRACE_GETREGSET, image, &regset_size);
	if (ret)
		return ret;
	fpstate_initial(image);
	return fpu_load(t, image);
}

int ptrace_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size)
{
	char image[FPSTATE_MAX] = {0};
	size_t full = platform_fpstate_size();
	int ret = tracee_attach(tracee_of(ctx));

	if (size < full)
		return -EINVAL;
	if (!ret)
		ret = fpu_save(tracee_of(ctx), image);
	if (ret)
		return ret;
	memcpy(buf, image, full);
	fpstate_mark(buf);
	return 0;
}

int ptrace_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size)
{
	char image[FPSTATE_MAX] = {0};
	int ret = fpstate_take(image, buf, size);

	if (!ret)
		ret = tracee_attach(tracee_of(ctx));
	return ret ? ret : fpu_load(tracee_of(ctx), image);
}

int ptrace_reset_fpstate(struct platform_ctx *ctx)
{
	char image[FPSTATE_MAX] = {0};
	int ret = tracee_attach(tracee_of(ctx));

	fpstate_initial(image);
	return ret ? ret : fpu_load(tracee_of(ctx), image);
}
