/* statmount(2), listmount(2), and the numbers that statx(2) gives for them. Needs CAP_SYS_ADMIN. */
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Newer than the headers that this is built with. */
#define NR_STATMOUNT 457
#define NR_LISTMOUNT 458
#define UNIQUE 0x4000U
#define ROOT_ID UINT64_MAX

struct request {
	uint32_t size, spare;
	uint64_t mnt_id, param;
};
struct result {
	uint32_t size, mnt_opts;
	uint64_t mask;
	uint32_t sb_dev_major, sb_dev_minor;
	uint64_t sb_magic;
	uint32_t sb_flags, fs_type;
	uint64_t mnt_id, mnt_parent_id;
	uint32_t mnt_id_old, mnt_parent_id_old;
	uint64_t mnt_attr, mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
	uint32_t mnt_root, mnt_point;
	uint64_t rest[50];
	char str[512];
};
enum { SB_BASIC = 1, MNT_BASIC = 2, MNT_ROOT = 8, MNT_POINT = 16, FS_TYPE = 32 };

static long ask(uint64_t id, uint64_t what, struct result *r, size_t size)
{
	struct request q = {.size = sizeof(q), .mnt_id = id, .param = what};

	return syscall(NR_STATMOUNT, &q, r, size, 0);
}

static long list(uint64_t id, uint64_t after, uint64_t *ids, size_t n, unsigned flags)
{
	struct request q = {.size = sizeof(q), .mnt_id = id, .param = after};

	return syscall(NR_LISTMOUNT, &q, ids, n, flags);
}

static uint64_t id_of(const char *path, unsigned mask)
{
	struct statx x;

	CHECK_EQ(statx(AT_FDCWD, path, 0, mask, &x), 0);
	CHECK(x.stx_mask & mask);
	return x.stx_mnt_id;
}

static char dir[] = "/tmp/moat-statmount-XXXXXX";

static void described(void)
{
	uint64_t root = id_of("/", UNIQUE), id = id_of(dir, UNIQUE);
	struct result r;

	CHECK(id > 1ULL << 31);
	memset(&r, 0, sizeof(r));
	CHECK_EQ(ask(id, SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE, &r, sizeof(r)), 0);
	CHECK_EQ(r.mask, SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE);
	CHECK_EQ(r.mnt_id, id);
	CHECK_EQ(r.mnt_parent_id, id_of("/tmp", UNIQUE));
	CHECK_EQ(r.mnt_id_old, id_of(dir, STATX_MNT_ID));
	CHECK_EQ(r.sb_magic, 0x01021994);
	CHECK_EQ(r.mnt_attr, MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY);
	CHECK_EQ(r.mnt_propagation, MS_PRIVATE);
	CHECK(!strcmp(r.str + r.fs_type, "tmpfs"));
	CHECK(!strcmp(r.str + r.mnt_root, "/"));
	CHECK(!strcmp(r.str + r.mnt_point, dir));
	CHECK(r.size > offsetof(struct result, str) && r.size < sizeof(r));
	CHECK_ERRNO(ask(id, MNT_POINT, &r, offsetof(struct result, str) + 4), EOVERFLOW);
	CHECK_ERRNO(ask(1, MNT_BASIC, &r, sizeof(r)), EINVAL);
	CHECK_ERRNO(ask(id + 1000000, MNT_BASIC, &r, sizeof(r)), ENOENT);
	CHECK_ERRNO(ask(id, MNT_BASIC, (struct result *)8, sizeof(r)), EFAULT);
	CHECK_ERRNO(syscall(NR_STATMOUNT, NULL, &r, sizeof(r), 0), EFAULT);
	CHECK_ERRNO(syscall(NR_STATMOUNT, &(struct request){.size = 8}, &r, sizeof(r), 0), EINVAL);
	CHECK_ERRNO(syscall(NR_STATMOUNT, &(struct request){.size = 24}, &r, sizeof(r), 1), EINVAL);
	CHECK(root != id);
}

static void listed(void)
{
	uint64_t id = id_of(dir, UNIQUE), ids[1000], again[1000];
	long n = list(ROOT_ID, 0, ids, 1000, 0);
	int found = 0;

	CHECK(n > 1);
	for (long i = 0; i < n; i++) {
		CHECK(!i || ids[i] > ids[i - 1]);
		found += ids[i] == id;
	}
	CHECK_EQ(found, 1);
	/* Piece by piece. */
	CHECK_EQ(list(ROOT_ID, 0, again, 1, 0), 1);
	CHECK_EQ(again[0], ids[0]);
	CHECK_EQ(list(ROOT_ID, ids[0], again, 1000, 0), n - 1);
	CHECK_EQ(again[0], ids[1]);
	CHECK_EQ(list(ROOT_ID, 0, again, 1, 1), 1);
	CHECK_EQ(again[0], ids[n - 1]);
	/* What is below one. */
	CHECK_EQ(list(id, 0, again, 1000, 0), 0);
	CHECK_ERRNO(list(id + 1000000, 0, again, 1000, 0), ENOENT);
	CHECK_ERRNO(list(id, 0, again, 1000, 2), EINVAL);
	CHECK_ERRNO(list(ROOT_ID, 0, (uint64_t *)8, 10, 0), EFAULT);
}

int main(void)
{
	struct result r;
	int status;

	if (geteuid() != 0)
		return 0;
	if (ask(id_of("/", UNIQUE), MNT_BASIC, &r, sizeof(r)) == -1 && errno == ENOSYS)
		return 0; /* before Linux 6.8 */
	REQUIRE(mkdtemp(dir));
	if (fork() == 0) {
		REQUIRE(unshare(CLONE_NEWNS) == 0);
		REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		REQUIRE(mount("none", dir, "tmpfs", MS_NOSUID | MS_RDONLY, NULL) == 0);
		described();
		listed();
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	wait(&status);
	CHECK_EQ(status, 0);
	CHECK_EQ(rmdir(dir), 0);
	CHECK_DONE();
}
