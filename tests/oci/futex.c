/*
 * futex wait FILE, futex wake FILE: one maps the file and waits on its first word, the other wakes
 * whoever waits, once somebody does. Says what came of it.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 60
#define PAUSE_NS 10000000L

static int wait_once(uint32_t *word)
{
	struct timespec timeout = {.tv_sec = SECONDS};

	if (syscall(SYS_futex, word, FUTEX_WAIT, 0, &timeout, NULL, 0)) {
		perror("FUTEX_WAIT");
		return 1;
	}
	puts("woken");
	return 0;
}

static int wake_one(uint32_t *word)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS};

	for (long i = 0; i < SECONDS * (1000000000L / PAUSE_NS); i++) {
		if (syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1) {
			puts("woke");
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	puts("nobody waits");
	return 1;
}

int main(int argc, char **argv)
{
	uint32_t *word;
	int fd;

	if (argc != 3)
		return 2;
	fd = open(argv[2], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*word))) {
		perror(argv[2]);
		return 1;
	}
	word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (word == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	return strcmp(argv[1], "wait") ? wake_one(word) : wait_once(word);
}
