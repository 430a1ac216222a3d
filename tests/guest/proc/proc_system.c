/* The files of /proc and /sys that are about the whole system, as programs parse them. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static char text[1 << 20];

static char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n, len = 0;

	text[0] = 0;
	if (fd < 0) {
		printf("%s: %s\n", path, strerror(errno));
		check_failures++;
		return text;
	}
	while ((n = read(fd, text + len, sizeof(text) - 1 - (size_t)len)) > 0)
		len += n;
	CHECK_EQ(n, 0);
	text[len] = 0;
	close(fd);
	return text;
}

static void memory(void)
{
	unsigned long total, free_, available;
	struct sysinfo si;

	CHECK_EQ(sscanf(slurp("/proc/meminfo"),
			"MemTotal: %lu kB\nMemFree: %lu kB\nMemAvailable: %lu kB\n", &total, &free_,
			&available),
		 3);
	CHECK(free_ <= total && available <= total);
	CHECK(strstr(text, "\nSwapTotal:"));
	CHECK(strstr(text, "\nCached:"));
	CHECK_EQ(sysinfo(&si), 0);
	CHECK_EQ(si.totalram * si.mem_unit / 1024, total);
}

static void time_and_load(void)
{
	double up, idle, l1, l5, l15;
	unsigned long user, nice_, sys, idle_ticks;
	int running, total, last, cpus = 0;

	CHECK_EQ(sscanf(slurp("/proc/uptime"), "%lf %lf\n", &up, &idle), 2);
	CHECK(up >= 0);
	CHECK_EQ(sscanf(slurp("/proc/loadavg"), "%lf %lf %lf %d/%d %d", &l1, &l5, &l15, &running,
			&total, &last),
		 6);
	CHECK(running >= 1 && total >= 1 && last >= 1);
	CHECK_EQ(sscanf(slurp("/proc/stat"), "cpu  %lu %lu %lu %lu", &user, &nice_, &sys,
			&idle_ticks),
		 4);
	for (char *p = text; (p = strstr(p, "\ncpu")); p++)
		cpus++;
	CHECK_EQ(cpus, get_nprocs());
	CHECK(strstr(text, "\nbtime "));
	CHECK(strstr(text, "\nprocesses "));
	cpus = 0;
	slurp("/proc/cpuinfo");
	for (char *p = text; (p = strstr(p, "processor\t:")); p++)
		cpus++;
	CHECK_EQ(cpus, get_nprocs());
	CHECK(strstr(text, "\nflags\t\t: fpu "));
	CHECK(strstr(text, " sse2 "));
}

static void sysctl(void)
{
	struct utsname un;
	char want[256], uuid1[64];
	unsigned a, b, c, d;
	struct stat st;

	CHECK_EQ(uname(&un), 0);
	snprintf(want, sizeof(want), "%s\n", un.nodename);
	CHECK(!strcmp(slurp("/proc/sys/kernel/hostname"), want));
	snprintf(want, sizeof(want), "%s\n", un.release);
	CHECK(!strcmp(slurp("/proc/sys/kernel/osrelease"), want));
	snprintf(want, sizeof(want), "Linux version %s ", un.release);
	CHECK(!strncmp(slurp("/proc/version"), want, strlen(want)));
	strcpy(uuid1, slurp("/proc/sys/kernel/random/uuid"));
	CHECK_EQ(strlen(uuid1), 37);
	CHECK_EQ(sscanf(uuid1, "%8x-%4x-4%3x-%4x-", &a, &b, &c, &d), 4);
	CHECK(strcmp(uuid1, slurp("/proc/sys/kernel/random/uuid")));
	strcpy(uuid1, slurp("/proc/sys/kernel/random/boot_id"));
	CHECK(!strcmp(uuid1, slurp("/proc/sys/kernel/random/boot_id")));
	CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) >= 32768);
	CHECK(atoi(slurp("/proc/sys/fs/pipe-max-size")) >= 65536);
	CHECK(atoi(slurp("/proc/sys/vm/max_map_count")) >= 1000);
	CHECK(atoi(slurp("/proc/sys/kernel/ngroups_max")) == 65536);
	CHECK_EQ(stat("/proc/sys/kernel", &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 0555);
	CHECK_EQ(stat("/proc/sys/kernel/pid_max", &st), 0);
	CHECK_EQ(st.st_size, 0);
}

static void mounts(void)
{
	int id, parent, maj, min, fd, last_id = -1;
	char root[256], where[256], *line;
	struct pollfd p;

	slurp("/proc/self/mounts");
	CHECK(strstr(text, " /proc proc rw"));
	slurp("/proc/self/mountinfo");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		CHECK_EQ(sscanf(line, "%d %d %d:%d %255s %255s", &id, &parent, &maj, &min, root,
				where),
			 6);
		CHECK(strstr(line, " - "));
		CHECK(id != last_id);
		last_id = id;
	}
	CHECK(last_id >= 0);
	CHECK(strstr(slurp("/proc/filesystems"), "nodev\tproc\n"));
	CHECK(strstr(text, "nodev\ttmpfs\n"));
	fd = open("/proc/self/mounts", O_RDONLY);
	p = (struct pollfd){fd, POLLPRI, 0};
	CHECK_EQ(poll(&p, 1, 0), 0);
	close(fd);
}

static void reading(void)
{
	struct statfs sf;
	char a[16], b[16];
	int fd = open("/proc/version", O_RDONLY);

	CHECK(fd >= 0);
	CHECK_EQ(read(fd, a, 5), 5);
	CHECK_EQ(read(fd, b, 5), 5);
	CHECK(!memcmp(a, "Linux", 5));
	CHECK_EQ(lseek(fd, 1, SEEK_SET), 1);
	CHECK_EQ(read(fd, b, 4), 4);
	CHECK(!memcmp(b, "inux", 4));
	CHECK_EQ(pread(fd, b, 5, 0), 5);
	CHECK(!memcmp(a, b, 5));
	CHECK_EQ(pread(fd, b, 5, 100000), 0);
	CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
	close(fd);
	CHECK_EQ(statfs("/proc", &sf), 0);
	CHECK_EQ(sf.f_type, 0x9fa0);
	CHECK(access("/proc/net/dev", R_OK) == 0);
	CHECK(strstr(slurp("/proc/net/dev"), "    lo:"));
}

static void sysfs(void)
{
	struct statfs sf;
	char path[128];
	struct stat st;
	int n = get_nprocs();

	if (statfs("/sys", &sf) || sf.f_type != 0x62656572)
		return; /* not mounted here */
	slurp("/sys/devices/system/cpu/online");
	CHECK_EQ(text[0], '0');
	CHECK_EQ(text[strlen(text) - 1], '\n');
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/core_id", n - 1);
	CHECK(access(path, R_OK) == 0);
	CHECK(access("/sys/devices/system/cpu/cpu999999", F_OK) < 0);
	CHECK_EQ(stat("/sys/class/net", &st), 0);
	CHECK(S_ISDIR(st.st_mode));
}

int main(void)
{
	alarm(58);
	memory();
	time_and_load();
	sysctl();
	mounts();
	reading();
	sysfs();
	CHECK_DONE();
}
