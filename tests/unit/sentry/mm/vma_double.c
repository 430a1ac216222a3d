#include "vma_double.h"

struct page host[PAGES];
static unsigned next_tag;
int fail_next;
unsigned text_changes;

__thread struct task *current;
struct machine machine = {.total_memory = 1ULL << 40};

uint64_t current_rlimit(int resource)
{
	return RLIM_INFINITY;
}

uint64_t current_personality(void)
{
	return 0;
}

bool fatal_signal_pending(struct task *t)
{
	return false;
}

static struct page *page_at(uint64_t addr)
{
	if (addr < BASE || addr >= BASE + PAGES * PAGE_SIZE)
		return NULL;
	return &host[(addr - BASE) / PAGE_SIZE];
}

static int injected(void)
{
	int err = fail_next;

	fail_next = 0;
	return -err;
}

int platform_mmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot, int flags,
		  int fd, uint64_t offset)
{
	int err = injected();

	assert_true(flags & MAP_FIXED);
	assert_int_equal(!!(flags & MAP_ANONYMOUS), fd < 0);
	if (err)
		return err;
	for (uint64_t a = addr; a < addr + len; a += PAGE_SIZE) {
		struct page *p = page_at(a);

		if (p)
			*p = (struct page){true,
					   flags & MAP_SHARED,
					   prot,
					   fd,
					   fd < 0 ? 0 : offset + (a - addr),
					   ++next_tag};
	}
	return 0;
}

int platform_munmap(struct platform_ctx *ctx, uint64_t addr, uint64_t len)
{
	int err = injected();

	if (err)
		return err;
	for (uint64_t a = addr; a < addr + len; a += PAGE_SIZE)
		if (page_at(a))
			memset(page_at(a), 0, sizeof(struct page));
	return 0;
}

int platform_mprotect(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int prot)
{
	int err = injected();

	if (err)
		return err;
	for (uint64_t a = addr; a < addr + len; a += PAGE_SIZE) {
		if (!page_at(a))
			continue;
		assert_true(page_at(a)->mapped);
		page_at(a)->prot = prot;
	}
	return 0;
}

int platform_mremap(struct platform_ctx *ctx, uint64_t addr, uint64_t len, uint64_t new_len,
		    uint64_t new_addr)
{
	struct page saved[PAGES], last = {0};
	int err = injected();

	if (err)
		return err;
	assert_non_null(page_at(addr));
	memcpy(saved, host, sizeof(saved));
	for (uint64_t i = 0; i < len; i += PAGE_SIZE)
		memset(page_at(addr + i), 0, sizeof(struct page));
	for (uint64_t i = 0; i < new_len; i += PAGE_SIZE) {
		if (i < len) {
			last = saved[(addr + i - BASE) / PAGE_SIZE];
		} else {
			last.tag = ++next_tag;
			last.offset += last.fd < 0 ? 0 : PAGE_SIZE;
		}
		if (page_at(new_addr + i))
			*page_at(new_addr + i) = last;
	}
	return 0;
}

uint64_t advised, longest_advice;

int platform_madvise(struct platform_ctx *ctx, uint64_t addr, uint64_t len, int advice)
{
	advised += len;
	longest_advice = MAX(longest_advice, len);
	return 0;
}

int platform_as_usage(struct platform_as *as, struct platform_usage *usage)
{
	return -ESRCH;
}

void platform_text_shared(struct platform_as *as)
{
}

void platform_text_changed(struct platform_as *as, uint64_t addr, uint64_t len)
{
	text_changes++;
}

ssize_t platform_read_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			  const struct iovec *remote, int nremote)
{
	return -EFAULT;
}

ssize_t platform_write_mem(struct platform_as *as, const struct iovec *local, int nlocal,
			   const struct iovec *remote, int nremote)
{
	return -EFAULT;
}

ssize_t platform_force_read(struct platform_as *as, uint64_t addr, void *buf, size_t n)
{
	return -EFAULT;
}

ssize_t platform_force_write(struct platform_as *as, uint64_t addr, const void *buf, size_t n)
{
	return -EFAULT;
}

void platform_as_put(struct platform_as *as)
{
}

struct file *file_get(struct file *f)
{
	refcount_inc(&f->refs);
	return f;
}

void file_put(struct file *f)
{
	assert_false(refcount_dec(&f->refs));
}

int inode_deny_write_access(struct inode *inode)
{
	return 0;
}

void inode_allow_write_access(struct inode *inode)
{
}

struct user_ns root_user_ns;

struct user_ns *user_ns_get(struct user_ns *ns)
{
	return ns;
}

void user_ns_put(struct user_ns *ns)
{
}

struct cred *current_cred(void)
{
	return NULL;
}

static bool privileged = true;
bool capable(int cap)
{
	return privileged;
}

static int test_file_mmap(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
			  int *host_fd, uint64_t *host_offset)
{
	*host_fd = 100;
	*host_offset = offset + 16 * PAGE_SIZE;
	return 0;
}
static const struct file_operations test_fops = {.mmap = test_file_mmap};
struct file test_file = {
	.refs = REFCOUNT_INIT, .can_read = true, .can_write = true, .ops = &test_fops};
