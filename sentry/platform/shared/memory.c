/* The memory commands: what of a stub's address space the kernel may change at all. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "sentry/arch/regs.h"
#include "sentry/platform/shared/ops.h"

static bool guest_range(uint64_t addr, uint64_t len)
{
	uint64_t end;

	return !(addr & ~PAGE_MASK) && !__builtin_add_overflow(addr, len, &end) &&
	       end <= GUEST_TASK_SIZE &&
	       (addr >= PLATFORM_RESERVED_END || end <= PLATFORM_RESERVED_START);
}

int platform_mmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot, int flags,
		  int fd, uint64_t offset)
{
	uint64_t args[6] = {addr, len, (uint64_t)prot, 0, fd < 0 ? ~0ULL : (uint64_t)fd, offset};

	if (!guest_range(addr, len))
		return -EINVAL;
	flags &= MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_POPULATE |
		 MAP_GROWSDOWN;
	args[3] = (uint64_t)flags | MAP_FIXED;
	return platform_ops->memory_call(ctx, SYS_mmap, args);
}

int platform_munmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len)
{
	const uint64_t args[6] = {addr, len};

	if (!guest_range(addr, len))
		return -EINVAL;
	return platform_ops->memory_call(ctx, SYS_munmap, args);
}

int platform_mprotect(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot)
{
	const uint64_t args[6] = {addr, len, (uint64_t)prot};

	if (!guest_range(addr, len))
		return -EINVAL;
	return platform_ops->memory_call(ctx, SYS_mprotect, args);
}

int platform_mremap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, uint64_t new_len,
		    uint64_t new_addr)
{
	bool move = addr != new_addr;
	const uint64_t args[6] = {addr, len, new_len, move ? MREMAP_MAYMOVE | MREMAP_FIXED : 0,
				  move ? new_addr : 0};

	if (!guest_range(addr, len) || !guest_range(new_addr, new_len))
		return -EINVAL;
	return platform_ops->memory_call(ctx, SYS_mremap, args);
}

int platform_madvise(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice)
{
	const uint64_t args[6] = {addr, len, (uint64_t)advice};

	if (!guest_range(addr, len))
		return -EINVAL;
	return platform_ops->memory_call(ctx, SYS_madvise, args);
}

int platform_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op,
		     uint32_t arg, uint32_t expected, uint32_t *old)
{
	if (addr % sizeof(uint32_t) || addr > GUEST_TASK_SIZE - sizeof(uint32_t))
		return -EINVAL;
	return platform_ops->word_op(ctx, addr, op, arg, expected, old);
}
