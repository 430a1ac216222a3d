/* What a process can still do that Landlock binds. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/compiler.h"
#include "boot/host/landlock.h"

static char dir[64];

static int make_dir(void **state)
{
	int fd;

	strcpy(dir, "/tmp/moat-landlock-XXXXXX");
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_PATH | O_DIRECTORY);
	assert_int_equal(mkdirat(fd, "ro", 0755), 0);
	assert_int_equal(mkdirat(fd, "rw", 0755), 0);
	close(fd);
	return 0;
}

static int remove_dir(void **state)
{
	int fd = open(dir, O_PATH | O_DIRECTORY);

	unlinkat(fd, "ro/f", 0);
	unlinkat(fd, "rw/f", 0);
	unlinkat(fd, "ro", AT_REMOVEDIR);
	unlinkat(fd, "rw", AT_REMOVEDIR);
	close(fd);
	return rmdir(dir);
}

static bool can_create(int place)
{
	int fd = openat(place, "f", O_WRONLY | O_CREAT, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool can_list(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Non-zero: the line of what was permitted and must not be, or the other way round. */
#define EXPECT(what)                                                                               \
	do {                                                                                       \
		if (!(what))                                                                       \
			return __LINE__ & 0xff;                                                    \
	} while (0)

static int bound(int secret)
{
	struct landlock_place places[2];
	char ro[80], buf[sizeof(int)];
	struct iovec local = {buf, sizeof(buf)}, remote = {&secret, sizeof(secret)};
	pid_t parent = getppid();

	snprintf(ro, sizeof(ro), "%s/ro", dir);
	places[0] = (struct landlock_place){open(ro, O_PATH | O_DIRECTORY), false};
	memcpy(ro + strlen(ro) - 2, "rw", 2);
	places[1] = (struct landlock_place){open(ro, O_PATH | O_DIRECTORY), true};
	EXPECT(places[0].fd >= 0 && places[1].fd >= 0);
	EXPECT(kill(parent, 0) == 0);
	EXPECT(process_vm_readv(parent, &local, 1, &remote, 1, 0) == sizeof(buf));
	EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	EXPECT(!landlock_confine(places, 2));

	EXPECT(!can_create(places[0].fd));
	EXPECT(can_create(places[1].fd));
	EXPECT(can_list(ro));
	EXPECT(!can_list("/"));
	EXPECT(!can_list(dir));
	EXPECT(openat(places[1].fd, "../ro", O_RDONLY) >= 0);
	EXPECT(openat(places[1].fd, "..", O_RDONLY) < 0);
	EXPECT(process_vm_readv(parent, &local, 1, &remote, 1, 0) < 0);
	if (landlock_version() >= 6)
		EXPECT(kill(parent, 0) < 0 && errno == EPERM);
	return 0;
}

static void landlock_leaves_what_is_named(void **state)
{
	int status;
	pid_t pid;

	if (!landlock_version())
		skip();
	pid = fork();
	if (pid == 0)
		_exit(bound(1234));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(landlock_leaves_what_is_named),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
