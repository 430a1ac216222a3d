/* /proc/sys/net belongs to the network namespace of whoever opens it (man 7 ip, man 5 proc). */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS "/proc/sys/net/"

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), saved;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	saved = errno;
	close(fd);
	errno = saved;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int reads(const char *path, const char *text)
{
	char got[128] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0 || strcmp(got, text))
		printf("%s: %s", path, got);
	return n >= 0 && !strcmp(got, text);
}

/* The errno of bind to a port, as one without privilege; 0: it is bound. */
static int bind_unprivileged(unsigned port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
	int status;
	pid_t pid = fork();

	if (!pid) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
			_exit(255);
		_exit(bind(s, (struct sockaddr *)&at, sizeof(at)) ? errno : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

int main(void)
{
	int s, value = 0;
	socklen_t len = sizeof(value);

	if (geteuid() || unshare(CLONE_NEWNET))
		return 0; /* it would be the host's */
	CHECK(reads(SYS "ipv4/ip_unprivileged_port_start", "1024\n"));
	CHECK_EQ(bind_unprivileged(80), EACCES);
	CHECK_EQ(write_to(SYS "ipv4/ip_unprivileged_port_start", "80\n"), 0);
	CHECK(reads(SYS "ipv4/ip_unprivileged_port_start", "80\n"));
	CHECK_EQ(bind_unprivileged(80), 0);
	CHECK_EQ(bind_unprivileged(79), EACCES);
	CHECK_EQ(write_to(SYS "core/somaxconn", "100"), 0);
	CHECK(reads(SYS "core/somaxconn", "100\n"));
	CHECK_EQ(write_to(SYS "ipv4/ip_local_port_range", "40000 40009"), 0);
	CHECK(reads(SYS "ipv4/ip_local_port_range", "40000\t40009\n"));
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(write_to(SYS "ipv4/tcp_keepalive_time", "77"), 0);
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(getsockopt(s, IPPROTO_TCP, 4 /* TCP_KEEPIDLE */, &value, &len), 0);
	CHECK_EQ(value, 77);
	CHECK_ERRNO(write_to(SYS "ipv4/tcp_keepalive_time", "many"), EINVAL);
	CHECK_ERRNO(write_to(SYS "ipv4/ip_unprivileged_port_start", "65536"), EINVAL);
	CHECK_ERRNO(write_to(SYS "ipv4/ip_unprivileged_port_start", "-1"), EINVAL);
	CHECK(reads(SYS "ipv4/tcp_keepalive_time", "77\n"));
	/* Another namespace has its own. */
	CHECK_EQ(unshare(CLONE_NEWNET), 0);
	CHECK(reads(SYS "ipv4/tcp_keepalive_time", "7200\n"));
	CHECK(reads(SYS "ipv4/ip_unprivileged_port_start", "1024\n"));
	/* Who is not root may look, and no more. */
	CHECK_EQ(setresuid(1000, 1000, 1000), 0);
	CHECK_ERRNO(write_to(SYS "core/somaxconn", "100"), EACCES);
	CHECK(reads(SYS "ipv4/tcp_keepalive_time", "7200\n"));
	CHECK_DONE();
}
