/* Files of /proc that tools look for: there, readable, and saying nothing of the host; and those of
 * a process that set something. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char text[65536];

static const char *read_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = 0;
	return n < 0 ? NULL : text;
}

static int write_file(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY), err;
	ssize_t n = fd < 0 ? -1 : write(fd, what, strlen(what));

	err = n < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static void the_machines_files_are_there(void)
{
	static const char *const files[] = {"buddyinfo", "consoles",	"execdomains",
					    "iomem",	 "ioports",	"softirqs",
					    "zoneinfo",	 "tty/drivers", "tty/ldiscs"};
	static const char *const dirs[] = {"bus", "driver", "fs", "irq", "tty"};
	char path[64];
	struct stat st;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s", files[i]);
		if (!read_file(path)) {
			printf("%s: %s\n", path, strerror(errno));
			check_failures++;
		}
	}
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s", dirs[i]);
		CHECK(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
	}
	CHECK(!strncmp(read_file("/proc/execdomains"), "0-0\tLinux", 9));
	CHECK(!strncmp(read_file("/proc/buddyinfo"), "Node 0, zone", 12));
}

/* man 5 core: children inherit it, also across execve. */
static void the_coredump_filter_is_inherited(void)
{
	int status;
	pid_t pid;

	CHECK(strtoul(read_file("/proc/self/coredump_filter"), NULL, 16) == 0x33);
	CHECK_EQ(write_file("/proc/self/coredump_filter", "0x21"), 0);
	CHECK(!strcmp(read_file("/proc/self/coredump_filter"), "00000021\n"));
	CHECK_EQ(write_file("/proc/self/coredump_filter", "x"), EINVAL);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "child", "0x21", (char *)NULL);
		_exit(1);
	}
	REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(WEXITSTATUS(status), 3);
}

static void what_cannot_be_set_says_so(void)
{
	char path[64];

	CHECK_EQ(write_file("/proc/self/clear_refs", "1"), 0);
	CHECK_EQ(write_file("/proc/self/clear_refs", "6"), EINVAL);
	snprintf(path, sizeof(path), "/proc/%d/timens_offsets", getpid());
	CHECK(!strncmp(read_file(path), "monotonic           0         0\n", 32));
	CHECK(read_file("/proc/self/syscall") && text[0] == '0' && text[1] == ' ');
	CHECK(access("/proc/self/attr/current", F_OK) == 0);
}

static void mapped_files_are_links(void)
{
	char name[64], path[128], target[128] = "", file[] = "/tmp/moat-mapped-XXXXXX";
	struct dirent *d;
	int fd = mkstemp(file), found = 0;
	char *m;
	DIR *dir;

	REQUIRE(fd >= 0 && ftruncate(fd, 8192) == 0);
	m = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(m != MAP_FAILED);
	close(fd);
	snprintf(name, sizeof(name), "%lx-%lx", (unsigned long)m, (unsigned long)m + 8192);
	dir = opendir("/proc/self/map_files");
	REQUIRE(dir);
	while ((d = readdir(dir)))
		found += !strcmp(d->d_name, name);
	closedir(dir);
	CHECK_EQ(found, 1);
	snprintf(path, sizeof(path), "/proc/self/map_files/%s", name);
	CHECK_EQ(readlink(path, target, sizeof(target) - 1), (long)strlen(file));
	CHECK(!strcmp(target, file));
	munmap(m, 8192);
	CHECK_ERRNO(readlink(path, target, sizeof(target)), ENOENT);
	unlink(file);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return strtoul(read_file("/proc/self/coredump_filter"), NULL, 16) ==
				       strtoul(argv[1], NULL, 16)
			       ? 3
			       : 4;
	the_machines_files_are_there();
	the_coredump_filter_is_inherited();
	what_cannot_be_set_says_so();
	mapped_files_are_links();
	CHECK_DONE();
}
