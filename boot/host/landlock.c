#include "boot/host/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"

/* As of version 6; each version of the kernel takes as much of it as it knows. Debian 12's header
 * has the first member only. */
struct ruleset {
	uint64_t fs, net, scoped;
};

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_REFER (1ull << 13)	  /* version 2 */
#define FS_TRUNCATE (1ull << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ull << 15) /* version 5 */
#define FS_VERSION_1 ((1ull << 13) - 1)
#define NET_ALL 3ull   /* version 4: bind, connect */
#define SCOPE_ALL 3ull /* version 6: abstract sockets, signals */

int landlock_version(void)
{
	long version;

	if (!host_has(HOST_LANDLOCK))
		return 0;
	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	return version < 0 ? 0 : (int)version;
}

int landlock_confine(const struct landlock_place *places, int n)
{
	int version = landlock_version();
	struct ruleset set = {.fs = FS_VERSION_1};
	size_t size = sizeof(set.fs);
	int __close_fd ruleset = -1;

	if (!version)
		return -EOPNOTSUPP;
	if (version >= 2)
		set.fs |= FS_REFER;
	if (version >= 3)
		set.fs |= FS_TRUNCATE;
	if (version >= 4) {
		set.net = NET_ALL;
		size = offsetof(struct ruleset, scoped);
	}
	if (version >= 5)
		set.fs |= FS_IOCTL_DEV;
	if (version >= 6) {
		set.scoped = SCOPE_ALL;
		size = sizeof(set);
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	if (ruleset < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct landlock_path_beneath_attr beneath = {
			/* Nothing is ever executed. */
			.allowed_access =
				places[i].writable ? set.fs & ~LANDLOCK_ACCESS_FS_EXECUTE : FS_READ,
			.parent_fd = places[i].fd,
		};

		if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath,
			    0))
			return -errno;
	}
	return syscall(SYS_landlock_restrict_self, ruleset, 0) ? -errno : 0;
}
