/* Thousands of small files in one directory, more than a process may have open. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define FILES 10000

static void make(int i)
{
	char name[32], text[64];
	int fd, n;

	snprintf(name, sizeof(name), "f%d", i);
	n = snprintf(text, sizeof(text), "content of file %d\n", i);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	REQUIRE(fd >= 0);
	REQUIRE(write(fd, text, n) == n);
	REQUIRE(close(fd) == 0);
}

static void verify(int i)
{
	char name[32], text[64], buf[64];
	struct stat st;
	int fd, n;

	snprintf(name, sizeof(name), "f%d", i);
	n = snprintf(text, sizeof(text), "content of file %d\n", i);
	REQUIRE(stat(name, &st) == 0);
	REQUIRE(st.st_size == n);
	fd = open(name, O_RDONLY);
	REQUIRE(fd >= 0);
	REQUIRE(read(fd, buf, sizeof(buf)) == n);
	REQUIRE(!memcmp(buf, text, n));
	close(fd);
}

int main(void)
{
	char dir[] = "/tmp/many-XXXXXX";
	static uint8_t seen[FILES];
	struct dirent *e;
	int n = 0;
	DIR *d;

	REQUIRE(mkdtemp(dir));
	REQUIRE(chdir(dir) == 0);
	for (int i = 0; i < FILES; i++)
		make(i);
	for (int i = 0; i < FILES; i++)
		verify(i);
	d = opendir(".");
	REQUIRE(d);
	while ((e = readdir(d))) {
		int i;

		if (sscanf(e->d_name, "f%d", &i) == 1 && i >= 0 && i < FILES) {
			CHECK_EQ(seen[i], 0);
			seen[i] = 1;
			n++;
		}
		/* Each goes while the directory is read. */
		if (e->d_name[0] == 'f')
			CHECK_EQ(unlink(e->d_name), 0);
	}
	closedir(d);
	CHECK_EQ(n, FILES);
	REQUIRE(chdir("/") == 0);
	CHECK_EQ(rmdir(dir), 0);
	CHECK_DONE();
}
