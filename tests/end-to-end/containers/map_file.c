/* map_file FILE: maps it shared; when its first byte becomes h, writes g into the second. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define TRIES 3000

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	int fd = open(argv[argc - 1], O_RDWR);
	volatile char *p = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (int i = 0; p[0] != 'h'; i++) {
		if (i == TRIES) {
			fprintf(stderr, "the host's word did not come\n");
			return 1;
		}
		nanosleep(&pause, NULL);
	}
	p[1] = 'g';
	return 0;
}
