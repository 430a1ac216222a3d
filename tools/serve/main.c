/* moat-serve: flags; where it listens, and who may ask. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve.h"
#include "stream.h"

struct settings settings = {
	.sandbox = {.size = sizeof(settings.sandbox), .memory = 1ULL << 30},
	.parallel = 4,
	.sessions = 16,
	.store_max = 256ULL << 20,
	.output_max = 10ULL << 20,
	.memory_default = 256ULL << 20,
	.time_default = 10000000000ULL,
};

static const char usage[] =
	"usage: moat-serve [--unix PATH | --listen ADDRESS:PORT] [flags]\n"
	"  --unix PATH         a socket of mode 0600\n"
	"  --listen A:PORT     an IPv4 address (default 127.0.0.1:5050); beyond loopback a token "
	"is "
	"needed\n"
	"  --token-file FILE   who asks must say 'Authorization: Bearer TOKEN'\n"
	"  --parallel N        programs that run at a time (default 4)\n"
	"  --sessions N        sandboxes that clients may hold besides (default 16)\n"
	"  --until-eof         ends when standard input does\n"
	"  --rootfs DIR        an image's directory instead of the host's programs and libraries\n"
	"  --memory MEBIBYTES  of each sandbox (default 1024)\n"
	"  --disk MEBIBYTES    of /w and of /tmp, each (default 512)\n"
	"  --volume SRC:DST    shows a directory of the host's; ':rw' at the end: to be written\n"
	"  --store MEBIBYTES   of files that are kept (default 256)\n";

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *fmt, ...)
{
	va_list ap;

	fputs("moat-serve: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;
	mode_t old;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) && errno == ECONNREFUSED)
		unlink(path);
	old = umask(0177);
	ret = fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 128) ? -errno
											    : fd;
	umask(old);
	return ret;
}

static int parse_address(const char *text, struct sockaddr_in *addr)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end;
	unsigned long port;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	port = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end || port > 65535 ||
	    inet_pton(AF_INET, host, &addr->sin_addr) != 1)
		return -EINVAL;
	addr->sin_family = AF_INET;
	addr->sin_port = htons((uint16_t)port);
	return 0;
}

static int listen_inet(const char *text)
{
	struct sockaddr_in addr = {0};
	int fd, on = 1;

	if (parse_address(text, &addr))
		return -EINVAL;
	if (ntohl(addr.sin_addr.s_addr) >> 24 != 127 && !settings.token)
		return -EPERM;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 128))
		return -errno;
	return fd;
}

/* The first line of the file. NULL: there is none. */
static char *read_token(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n = f ? getline(&line, &room, f) : -1;

	if (f)
		fclose(f);
	if (n > 0)
		line[strcspn(line, "\r\n")] = 0;
	if (n > 0 && *line)
		return line;
	free(line);
	return NULL;
}

static bool take_count(const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 10);
	return !errno && end != text && !*end && *text != '-' && *out && *out <= max;
}

static const struct option flags[] = {
	{"unix", required_argument, NULL, 'u'},	      {"listen", required_argument, NULL, 'l'},
	{"token-file", required_argument, NULL, 't'}, {"parallel", required_argument, NULL, 'p'},
	{"rootfs", required_argument, NULL, 'r'},     {"memory", required_argument, NULL, 'm'},
	{"store", required_argument, NULL, 's'},      {"sessions", required_argument, NULL, 'n'},
	{"disk", required_argument, NULL, 'd'},	      {"volume", required_argument, NULL, 'v'},
	{"until-eof", no_argument, NULL, 'e'},	      {0},
};

static bool until_eof;
static const char *volumes[65];

/* The server ends with whoever holds the other end of its standard input. */
static void *watch_input(void *unused)
{
	char c[256];
	ssize_t n;

	do
		n = read(0, c, sizeof(c));
	while (n > 0 || (n < 0 && errno == EINTR));
	kill(getpid(), SIGTERM);
	return NULL;
}

static int take_flag(int flag, char *value, const char **unix_path, const char **address)
{
	unsigned long n;

	switch (flag) {
	case 'u':
		*unix_path = value;
		return 0;
	case 'l':
		*address = value;
		return 0;
	case 't':
		settings.token = read_token(value);
		return settings.token ? 0 : fail("--token-file %s: there is no token", value);
	case 'r':
		settings.sandbox.rootfs = value;
		return 0;
	case 'p':
		if (!take_count(value, 256, &n))
			return fail("--parallel must be 1 to 256: %s", value);
		settings.parallel = (unsigned)n;
		return 0;
	case 'n':
		if (!take_count(value, 1024, &n))
			return fail("--sessions must be 1 to 1024: %s", value);
		settings.sessions = (unsigned)n;
		return 0;
	case 'd':
		if (!take_count(value, 1 << 20, &n))
			return fail("--disk must be a number of mebibytes: %s", value);
		settings.sandbox.disk = (uint64_t)n << 20;
		return 0;
	case 'v':
		for (n = 0; volumes[n]; n++)
			if (n + 2 == sizeof(volumes) / sizeof(volumes[0]))
				return fail("--volume: too many");
		volumes[n] = value;
		settings.sandbox.volumes = volumes;
		return 0;
	case 'e':
		until_eof = true;
		return 0;
	case 'm':
		if (!take_count(value, 1 << 20, &n))
			return fail("--memory must be a number of mebibytes: %s", value);
		settings.sandbox.memory = (uint64_t)n << 20;
		return 0;
	case 's':
		if (!take_count(value, 1 << 20, &n))
			return fail("--store must be a number of mebibytes: %s", value);
		settings.store_max = (uint64_t)n << 20;
		return 0;
	}
	fputs(usage, stderr);
	return 1;
}

int main(int argc, char **argv)
{
	const char *unix_path = NULL, *address = "127.0.0.1:5050";
	struct MHD_Daemon *daemon;
	pthread_t watcher;
	sigset_t ends;
	int c, fd, ret = 0;

	while (!ret && (c = getopt_long(argc, argv, "", flags, NULL)) != -1)
		ret = take_flag(c, optarg, &unix_path, &address);
	if (ret)
		return ret;
	/* Threads inherit it: the signal is taken below. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = unix_path ? listen_unix(unix_path) : listen_inet(address);
	if (fd == -EPERM && !unix_path)
		return fail("%s is beyond loopback: that needs --token-file", address);
	if (fd < 0)
		return fail("%s: %s", unix_path ? unix_path : address, strerror(-fd));
	if (sandboxes_init(settings.parallel))
		return fail("no memory");
	daemon = http_start(fd);
	if (!daemon)
		return fail("cannot serve");
	printf("ready %s\n", unix_path ? unix_path : address);
	fflush(stdout);
	if (until_eof && pthread_create(&watcher, NULL, watch_input, NULL))
		return fail("cannot watch standard input");
	sigwait(&ends, &c);
	streams_end();
	http_stop(daemon);
	sessions_end();
	sandboxes_end();
	if (unix_path)
		unlink(unix_path);
	return 0;
}
