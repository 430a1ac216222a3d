/* Threads that change, move, remove and list the same files of the lower layer at once: whatever
 * order it comes to, each call gives an answer that Linux may give, and the tree stays sound. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define TREE "/usr/lib/x86_64-linux-gnu/perl-base"
#define THREADS 4
#define SECONDS 2
#define MAX_NAMES 64

static char names[MAX_NAMES][256];
static int num_names;
static const char *const dirs[] = {".", "race-a", "race-b", "race-a/sub"};

static bool in_moat(void)
{
	char buf[256] = "";
	int fd = open("/proc/version", O_RDONLY);

	if (fd >= 0) {
		read(fd, buf, sizeof(buf) - 1);
		close(fd);
	}
	return strstr(buf, "moat@");
}

static void collect(void)
{
	DIR *d = opendir(".");
	struct dirent *e;

	REQUIRE(d);
	while ((e = readdir(d)) && num_names < MAX_NAMES)
		if (e->d_type == DT_REG)
			snprintf(names[num_names++], sizeof(names[0]), "%s", e->d_name);
	closedir(d);
	REQUIRE(num_names > 4);
}

static void random_path(unsigned *seed, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", dirs[rand_r(seed) % 4], names[rand_r(seed) % num_names]);
}

/* 0, or an errno that losing a race explains. */
static void allowed(int ret, const char *what)
{
	if (ret >= 0)
		return;
	switch (errno) {
	case ENOENT:
	case EEXIST:
	case ENOTEMPTY:
	case EISDIR:
	case ENOTDIR:
	case ETXTBSY:
		return;
	}
	printf("%s: %s\n", what, strerror(errno));
	__atomic_fetch_add(&check_failures, 1, __ATOMIC_RELAXED);
}

static void write_some(const char *path, unsigned *seed)
{
	int fd = open(path, O_RDWR | (rand_r(seed) % 4 ? 0 : O_TRUNC));
	char buf[512] = "written";
	char *p;

	allowed(fd, "open");
	if (fd < 0)
		return;
	CHECK_EQ(pwrite(fd, buf, sizeof(buf), rand_r(seed) % 5000), sizeof(buf));
	CHECK(pread(fd, buf, sizeof(buf), 0) >= 0);
	if (rand_r(seed) % 4 == 0) {
		p = mmap(NULL, 4096, PROT_READ, rand_r(seed) % 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
		CHECK(p != MAP_FAILED);
		munmap(p, 4096);
	}
	close(fd);
}

static void list(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool dot = false;

	allowed(d ? 0 : -1, "opendir");
	if (!d)
		return;
	while ((e = readdir(d)))
		dot |= !strcmp(e->d_name, ".");
	closedir(d);
	CHECK(dot);
}

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	allowed(fd, "create");
	if (fd >= 0) {
		CHECK_EQ(write(fd, "new", 3), 3);
		close(fd);
	}
}

static void *race(void *arg)
{
	unsigned seed = (uintptr_t)arg * 2654435761u + 1;
	time_t end = time(NULL) + SECONDS;
	struct stat st;

	while (time(NULL) < end)
		for (int i = 0; i < 20; i++) {
			char a[512], b[512];

			random_path(&seed, a, sizeof(a));
			random_path(&seed, b, sizeof(b));
			switch (rand_r(&seed) % 12) {
			case 0:
			case 1:
				allowed(rename(a, b), "rename");
				break;
			case 2:
				allowed(unlink(a), "unlink");
				break;
			case 3:
				allowed(link(a, b), "link");
				break;
			case 4:
				make_file(a);
				break;
			case 5:
				allowed(chmod(a, 0600 | (rand_r(&seed) & 0077)), "chmod");
				break;
			case 6:
				list(dirs[rand_r(&seed) % 4]);
				break;
			case 7:
				allowed(rename("race-a/sub", "race-b/sub"),
					"rename of a directory");
				allowed(rename("race-b/sub", "race-a/sub"),
					"rename of a directory");
				break;
			case 8:
				allowed(truncate(a, rand_r(&seed) % 9000), "truncate");
				break;
			case 9:
				allowed(stat(a, &st), "stat");
				break;
			default:
				write_some(a, &seed);
			}
		}
	return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int main(void)
{
	char dir[] = "/tmp/overlay-races-XXXXXX", command[128];
	pthread_t threads[THREADS];
	bool moat = in_moat();

	if (access(TREE, F_OK)) {
		printf("skipped: no %s\n", TREE);
		return 0;
	}
	if (moat) {
		REQUIRE(chdir(TREE) == 0);
	} else {
		REQUIRE(mkdtemp(dir));
		snprintf(command, sizeof(command), "cp -a %s/. %s", TREE, dir);
		REQUIRE(system(command) == 0);
		REQUIRE(chdir(dir) == 0);
	}
	collect();
	REQUIRE(mkdir("race-b", 0755) == 0);
	REQUIRE(rename("File", "race-a") == 0 || mkdir("race-a", 0755) == 0);
	REQUIRE(mkdir("race-a/sub", 0755) == 0);
	for (long i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, race, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* All that is left can be removed. */
	CHECK_EQ(nftw("race-a", remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	CHECK_EQ(nftw("race-b", remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	for (int i = 0; i < num_names; i++)
		if (unlink(names[i]))
			CHECK_EQ(errno, ENOENT);
	for (int i = 0; i < num_names; i++)
		CHECK_ERRNO(access(names[i], F_OK), ENOENT);
	if (!moat) {
		REQUIRE(chdir("/") == 0);
		CHECK_EQ(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	}
	CHECK_DONE();
}
