#include "boot/net/passt.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/fds.h"

/* What slirp has always had. IPv6 comes by router advertisements. */
#define GUEST "10.0.2.15"
#define GATEWAY "10.0.2.2"
#define PREFIX 24
#define MTU 65520
#define PORTS_MAX 64
#define START_NS (30 * NSEC_PER_SEC)
#define CALL_MS 60000

/* A file that passt writes its number to when it is ready. */
struct pid_file {
	char path[64];
	int fd;
};

struct port {
	bool udp;
	char text[80]; /* as passt wants it */
};

/* --- ports ------------------------------------------------------------------------------------ */

static bool take_number(const char **p)
{
	char *end;
	unsigned long n = isdigit((unsigned char)**p) ? strtoul(*p, &end, 10) : 0;

	if (!n || n > 65535)
		return false;
	*p = end;
	return true;
}

/* False: not of the form that passt_publish_valid() describes. */
static bool parse_port(const char *publish, struct port *port)
{
	const char *host = publish, *p;
	struct in_addr addr;
	char text[16];
	size_t n;

	*port = (struct port){.udp = false};
	/* An address of IPv4 has dots, and no port has. */
	n = strcspn(publish, ":");
	if (memchr(publish, '.', n)) {
		if (n >= sizeof(text))
			return false;
		memcpy(text, publish, n);
		text[n] = 0;
		if (inet_pton(AF_INET, text, &addr) != 1 || publish[n] != ':')
			return false;
		snprintf(port->text, sizeof(port->text), "%s/", text);
		host = publish + n + 1;
	}
	p = host;
	if (!take_number(&p) || *p++ != ':' || !take_number(&p))
		return false;
	n = strlen(port->text);
	snprintf(port->text + n, sizeof(port->text) - n, "%.*s", (int)(p - host), host);
	if (!strcmp(p, "/udp"))
		port->udp = true;
	return !*p || port->udp || !strcmp(p, "/tcp");
}

bool passt_publish_valid(const char *publish)
{
	struct port port;

	return parse_port(publish, &port);
}

/* --- the process ------------------------------------------------------------------------------ */

static void execute(int sock, int output, const char *pid_file, char *const *publish) __noreturn;
static void execute(int sock, int output, const char *pid_file, char *const *publish)
{
	static struct port ports[PORTS_MAX];
	char fd_text[16];
	const char *argv[32 + 2 * PORTS_MAX];
	bool tcp = false, udp = false;
	int keep = sock, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned n = 0;
	const char *const fixed[] = {"passt", "--foreground", "--quiet", "--one-off", "--pid",
				     pid_file, "--fd", fd_text, "--address", GUEST, "--netmask",
				     "24", "--gateway", GATEWAY, "--mtu", "65520",
				     /* What listens on the host's loopback is not for guests. */
				     "--no-map-gw", "--no-dhcp", "--no-dhcpv6"};

	snprintf(fd_text, sizeof(fd_text), "%d", sock);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		argv[n++] = fixed[i];
	for (unsigned i = 0; publish && publish[i] && i < PORTS_MAX; i++) {
		if (!parse_port(publish[i], &ports[i]))
			continue;
		argv[n++] = ports[i].udp ? "--udp-ports" : "--tcp-ports";
		argv[n++] = ports[i].text;
		udp |= ports[i].udp;
		tcp |= !ports[i].udp;
	}
	if (!tcp) {
		argv[n++] = "--tcp-ports";
		argv[n++] = "none";
	}
	if (!udp) {
		argv[n++] = "--udp-ports";
		argv[n++] = "none";
	}
	argv[n] = NULL;
	/* A signal from the terminal is for the program, which may want to end by itself. */
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	fds_close_others(&keep, 1);
	fcntl(sock, F_SETFD, 0);
	execvp("passt", (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "passt: %s (Debian's package is passt)\n", strerror(errno));
	_exit(127);
}

/* The last line that passt said, which is why it has ended. */
static void describe_failure(int output, char *err, size_t errlen)
{
	char text[4096];
	ssize_t n = read(output, text, sizeof(text) - 1);
	char *line;

	if (n <= 0) {
		snprintf(err, errlen, "passt has ended");
		return;
	}
	text[n] = 0;
	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	snprintf(err, errlen, "the user-mode network does not start: %s", line);
}

static int wait_ready(pid_t pid, const struct pid_file *file, int output, char *err, size_t errlen)
{
	int64_t deadline = monotonic_ns() + START_NS;
	struct timespec pause = {.tv_nsec = 2000000};
	char c;

	while (pread(file->fd, &c, 1, 0) != 1) {
		int status;

		if (waitpid(pid, &status, WNOHANG) == pid) {
			describe_failure(output, err, errlen);
			return -EIO;
		}
		if (monotonic_ns() > deadline) {
			snprintf(err, errlen, "passt does not start");
			return -ETIMEDOUT;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int make_pid_file(struct pid_file *file)
{
	snprintf(file->path, sizeof(file->path), "/tmp/moat-passt.XXXXXX");
	file->fd = mkostemp(file->path, O_CLOEXEC);
	/* passt has become nobody when it opens it. */
	if (file->fd < 0 || fchmod(file->fd, 0666))
		return -errno;
	return 0;
}

/* --- the link --------------------------------------------------------------------------------- */

static int give_link(int sock, struct control_client *client, char *err, size_t errlen)
{
	Moat__CreateLinksAndRoutes links = MOAT__CREATE_LINKS_AND_ROUTES__INIT;
	Moat__DefaultGateway gateway = MOAT__DEFAULT_GATEWAY__INIT;
	Moat__NetworkAddress address = MOAT__NETWORK_ADDRESS__INIT, *addresses[] = {&address};
	Moat__FdLink link = MOAT__FD_LINK__INIT, *all[] = {&link};
	Moat__Request request = MOAT__REQUEST__INIT;
	struct control_error error;
	struct in_addr guest, router;
	unsigned char mac[6];
	char name[] = "eth0";
	int ret;

	inet_pton(AF_INET, GUEST, &guest);
	inet_pton(AF_INET, GATEWAY, &router);
	if (getrandom(mac, sizeof(mac), 0) != sizeof(mac))
		return -EIO;
	mac[0] = (mac[0] & 0xfc) | 2;
	address.address = (ProtobufCBinaryData){4, (uint8_t *)&guest};
	address.prefix = PREFIX;
	gateway.link = link.name = name;
	gateway.gateway = (ProtobufCBinaryData){4, (uint8_t *)&router};
	link.mtu = MTU;
	link.addresses = addresses;
	link.n_addresses = 1;
	link.link_address = (ProtobufCBinaryData){sizeof(mac), mac};
	link.channels = 1;
	link.stream = true;
	links.fd_links = all;
	links.n_fd_links = 1;
	links.default_v4 = &gateway;
	request.call_case = MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES;
	request.create_links_and_routes = &links;
	ret = control_client_call(client, &request, &sock, 1, CALL_MS, NULL, &error);
	if (ret)
		snprintf(err, errlen, "network: %s", error.text);
	return ret;
}

pid_t passt_start(char *const *publish, struct control_client *client, char *err, size_t errlen)
{
	/* Read once, and never again: passt does not wait for its output to be taken. */
	static int output[2] = {-1, -1};
	struct pid_file file = {.fd = -1};
	int sv[2] = {-1, -1};
	pid_t pid = 0;
	int ret = make_pid_file(&file);

	if (!ret && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
		     pipe2(output, O_CLOEXEC | O_NONBLOCK)))
		ret = -errno;
	if (!ret) {
		pid = fork();
		if (pid == 0)
			execute(sv[1], output[1], file.path, publish);
		ret = pid < 0 ? -errno : 0;
	}
	if (ret)
		snprintf(err, errlen, "starting passt: %s", strerror(-ret));
	close_fd_ptr(&sv[1]);
	close_fd_ptr(&output[1]);
	if (!ret)
		ret = wait_ready(pid, &file, output[0], err, errlen);
	if (!ret)
		ret = give_link(sv[0], client, err, errlen);
	/* When the sandbox closes its end, or we do, passt ends. */
	close_fd_ptr(&sv[0]);
	close_fd_ptr(&file.fd);
	unlink(file.path);
	if (ret && pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return ret ? ret : pid;
}
