/*
 * lock_file flock|posix|ofd ex|sh try|wait|test FILE: 0 when it has the lock, 1 when another has.
 * lock_file KIND TYPE hold FILE SAY UNTIL: makes the file SAY, keeps the lock until there is UNTIL.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define TRIES 6000

static int take(int fd, const char *kind, bool exclusive, bool wait)
{
	struct flock l = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};

	if (!strcmp(kind, "flock"))
		return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB));
	if (!strcmp(kind, "ofd"))
		return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &l);
}

static int test(int fd, bool exclusive)
{
	struct flock l = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_GETLK, &l))
		return 2;
	printf("%s\n", l.l_type == F_UNLCK ? "free" : "held");
	return 0;
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	bool exclusive, hold;
	int fd;

	if (argc < 5)
		return 2;
	exclusive = !strcmp(argv[2], "ex");
	hold = !strcmp(argv[3], "hold");
	fd = open(argv[4], O_RDWR);
	if (fd < 0 || (hold && argc < 7))
		return 2;
	if (!strcmp(argv[3], "test"))
		return test(fd, exclusive);
	if (take(fd, argv[1], exclusive, !strcmp(argv[3], "wait")))
		return errno == EAGAIN || errno == EACCES ? 1 : 2;
	if (hold && close(open(argv[5], O_CREAT | O_WRONLY, 0600)))
		return 2;
	for (int i = 0; hold && access(argv[6], F_OK); i++) {
		if (i == TRIES)
			return 3;
		nanosleep(&pause, NULL);
	}
	return 0;
}
