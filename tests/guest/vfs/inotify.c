/* inotify: events, names, rename cookies, options, limits (man 7 inotify). */
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static int in;
static char buf[65536] __attribute__((aligned(8)));
static size_t have, at;

/* The next event, or NULL if there is none. */
static struct inotify_event *next(void)
{
	struct inotify_event *e;

	if (at >= have) {
		ssize_t n = read(in, buf, sizeof(buf));

		if (n <= 0)
			return NULL;
		have = (size_t)n;
		at = 0;
	}
	e = (struct inotify_event *)(void *)(buf + at);
	at += sizeof(*e) + e->len;
	return e;
}

static uint32_t cookie;

static int expect_at(int line, int wd, uint32_t mask, const char *name)
{
	struct inotify_event *e = next();

	if (!e || e->wd != wd || e->mask != mask || strcmp(e->len ? e->name : "", name)) {
		printf("line %d: expected wd %d mask %x name '%s', got ", line, wd, mask, name);
		if (e)
			printf("wd %d mask %x name '%s'\n", e->wd, e->mask, e->len ? e->name : "");
		else
			printf("nothing\n");
		check_failures++;
		return 0;
	}
	cookie = e->cookie;
	return 1;
}
#define EXPECT(wd, mask, name) expect_at(__LINE__, wd, mask, name)

static void file_in_directory(int wd)
{
	struct pollfd p = {.fd = in, .events = POLLIN};
	uint32_t first;
	int fd, n;

	fd = open("f", O_CREAT | O_WRONLY, 0600);
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(ioctl(in, FIONREAD, &n), 0);
	CHECK_EQ(n, 4 * 32);
	CHECK_ERRNO(read(in, buf, 16), EINVAL);
	EXPECT(wd, IN_CREATE, "f");
	EXPECT(wd, IN_OPEN, "f");
	EXPECT(wd, IN_MODIFY, "f");
	EXPECT(wd, IN_CLOSE_WRITE, "f");
	fd = open("f", O_RDONLY);
	close(fd);
	EXPECT(wd, IN_OPEN, "f");
	EXPECT(wd, IN_CLOSE_NOWRITE, "f");

	CHECK_EQ(rename("f", "g"), 0);
	EXPECT(wd, IN_MOVED_FROM, "f");
	first = cookie;
	CHECK(first != 0);
	EXPECT(wd, IN_MOVED_TO, "g");
	CHECK_EQ(cookie, first);
}

static void directory_in_directory(int wd)
{
	int fd, wd2;

	CHECK_EQ(mkdir("d", 0700), 0);
	EXPECT(wd, IN_CREATE | IN_ISDIR, "d");
	wd2 = inotify_add_watch(in, "d", IN_DELETE_SELF | IN_CREATE | IN_ONLYDIR);
	CHECK_EQ(wd2, 2);
	fd = open("d/x", O_CREAT | O_WRONLY, 0600);
	close(fd);
	EXPECT(wd2, IN_CREATE, "x");
	CHECK_EQ(unlink("d/x"), 0);
	CHECK_EQ(rmdir("d"), 0);
	EXPECT(wd2, IN_DELETE_SELF, "");
	EXPECT(wd2, IN_IGNORED, "");
	EXPECT(wd, IN_DELETE | IN_ISDIR, "d");
	CHECK_ERRNO(inotify_rm_watch(in, wd2), EINVAL);
}

/* One shot; masks that are added. */
static void watch_options(int wd)
{
	int wd2;

	wd2 = inotify_add_watch(in, "g", IN_ATTRIB | IN_ONESHOT);
	CHECK(wd2 > 2);
	CHECK_EQ(chmod("g", 0640), 0);
	EXPECT(wd2, IN_ATTRIB, "");
	EXPECT(wd2, IN_IGNORED, "");
	wd2 = inotify_add_watch(in, "g", IN_ATTRIB);
	CHECK_EQ(inotify_add_watch(in, "g", IN_MODIFY | IN_MASK_ADD), wd2);
	CHECK_ERRNO(inotify_add_watch(in, "g", IN_MODIFY | IN_MASK_CREATE), EEXIST);
	CHECK_EQ(chmod("g", 0600), 0);
	EXPECT(wd2, IN_ATTRIB, "");
	CHECK_EQ(truncate("g", 0), 0);
	EXPECT(wd, IN_MODIFY, "g");
	EXPECT(wd2, IN_MODIFY, "");
	CHECK_EQ(inotify_rm_watch(in, wd2), 0);
	EXPECT(wd2, IN_IGNORED, "");
}

/* Equal events in a row are one. */
static void equal_events(int wd)
{
	int fd;

	fd = open("g", O_WRONLY);
	EXPECT(wd, IN_OPEN, "g");
	for (int i = 0; i < 5; i++)
		CHECK_EQ(write(fd, "y", 1), 1);
	close(fd);
	EXPECT(wd, IN_MODIFY, "g");
	EXPECT(wd, IN_CLOSE_WRITE, "g");
	CHECK_EQ(unlink("g"), 0);
	EXPECT(wd, IN_DELETE, "g");
}

/* What is done to a file whose name is gone is told under the old name, or not at all. */
static void unlinked_file(int wd)
{
	int fd;

	fd = open("u", O_CREAT | O_WRONLY, 0600);
	EXPECT(wd, IN_CREATE, "u");
	EXPECT(wd, IN_OPEN, "u");
	CHECK_EQ(unlink("u"), 0);
	EXPECT(wd, IN_DELETE, "u");
	CHECK_EQ(write(fd, "z", 1), 1);
	EXPECT(wd, IN_MODIFY, "u");
	CHECK_EQ(inotify_add_watch(in, ".", IN_MODIFY | IN_EXCL_UNLINK), wd);
	CHECK_EQ(write(fd, "z", 1), 1);
	close(fd);
	CHECK_ERRNO(read(in, buf, sizeof(buf)), EAGAIN);
}

/* A directory's own move is told without IN_ISDIR. */
static void moved_directory(int wd)
{
	int wd2;

	CHECK_EQ(mkdir("e", 0700), 0);
	wd2 = inotify_add_watch(in, "e", IN_MOVE_SELF);
	CHECK_EQ(rename("e", "e2"), 0);
	EXPECT(wd2, IN_MOVE_SELF, "");
	CHECK_EQ(inotify_rm_watch(in, wd2), 0);
	EXPECT(wd2, IN_IGNORED, "");
	CHECK_EQ(rmdir("e2"), 0);
}

static void errors(void)
{
	CHECK_ERRNO(inotify_add_watch(in, ".", 0), EINVAL);
	CHECK_ERRNO(inotify_add_watch(in, "nope", IN_OPEN), ENOENT);
	CHECK_ERRNO(inotify_add_watch(0x7fff, ".", IN_OPEN), EBADF);
	CHECK_ERRNO(inotify_rm_watch(in, 9999), EINVAL);
	CHECK_ERRNO(inotify_init1(0x1), EINVAL);
	CHECK_ERRNO(read(in, buf, sizeof(buf)), EAGAIN);
}

int main(void)
{
	char dir[] = "/tmp/inotify_test_XXXXXX";
	int wd;

	REQUIRE(mkdtemp(dir) && chdir(dir) == 0);
	in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	REQUIRE(in >= 0);
	CHECK_EQ(fcntl(in, F_GETFD), FD_CLOEXEC);
	wd = inotify_add_watch(in, ".", IN_ALL_EVENTS & ~(IN_ACCESS | IN_ATTRIB));
	CHECK_EQ(wd, 1);
	CHECK_ERRNO(read(in, buf, sizeof(buf)), EAGAIN);

	file_in_directory(wd);
	directory_in_directory(wd);
	watch_options(wd);
	equal_events(wd);
	unlinked_file(wd);
	moved_directory(wd);
	errors();
	CHECK_EQ(inotify_rm_watch(in, wd), 0);
	EXPECT(wd, IN_IGNORED, "");
	close(in);
	chdir("/");
	rmdir(dir);
	CHECK_DONE();
}
