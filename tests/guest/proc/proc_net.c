/* /proc/net: sockets, devices, routes and addresses of the network namespace (man 5 proc_net). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char line[1024];

/* The line of a table in which `text` stands, or NULL. */
static const char *find_line(const char *table, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/net/%s", table);
	f = fopen(path, "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, text)) {
			fclose(f);
			return line;
		}
	fclose(f);
	return NULL;
}

struct socket_line {
	char local[64], remote[64];
	unsigned state, uid;
	unsigned long ino;
};

static int parse(const char *text, struct socket_line *l)
{
	return text && sscanf(text, "%*d: %63s %63s %x %*x:%*x %*x:%*x %*x %u %*d %lu", l->local,
			      l->remote, &l->state, &l->uid, &l->ino) == 5;
}

static unsigned long inode_of(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_ino;
}

static unsigned bound_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	CHECK_EQ(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
					     : ((struct sockaddr_in *)&a)->sin_port);
}

static int bind_loopback(int type)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, type, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void tcp(void)
{
	int l = bind_loopback(SOCK_STREAM), c = socket(AF_INET, SOCK_STREAM, 0), a;
	struct sockaddr_in to;
	socklen_t len = sizeof(to);
	struct socket_line s;
	char want[64];

	snprintf(want, sizeof(want), " 0100007F:%04X ", bound_port(l));
	CHECK(!find_line("tcp", want)); /* bound, but neither listening nor connected */
	CHECK_EQ(listen(l, 5), 0);
	CHECK(parse(find_line("tcp", want), &s));
	CHECK_EQ(s.state, 10);
	CHECK_EQ(s.ino, inode_of(l));
	CHECK_EQ(s.uid, geteuid());
	CHECK(!strcmp(s.remote, "00000000:0000"));
	CHECK_EQ(strlen(line), 150);
	CHECK_EQ(getsockname(l, (struct sockaddr *)&to, &len), 0);
	CHECK_EQ(connect(c, (struct sockaddr *)&to, sizeof(to)), 0);
	a = accept(l, NULL, NULL);
	CHECK(a >= 0);
	CHECK_EQ(write(c, "12345", 5), 5);
	snprintf(want, sizeof(want), " 0100007F:%04X 0100007F:%04X 01 ", bound_port(l),
		 bound_port(c));
	CHECK(parse(find_line("tcp", want), &s));
	CHECK_EQ(s.ino, inode_of(a));
	CHECK(strstr(line, " 00000000:00000005 ")); /* unread */
	snprintf(want, sizeof(want), " 0100007F:%04X 0100007F:%04X 01 ", bound_port(c),
		 bound_port(l));
	CHECK(parse(find_line("tcp", want), &s));
	CHECK_EQ(s.ino, inode_of(c));
	snprintf(want, sizeof(want), " 0100007F:%04X 00000000:0000 0A", bound_port(l));
	close(a);
	close(c);
	CHECK(find_line("tcp", want));
	close(l);
	CHECK(!find_line("tcp", want));
}

static void udp(void)
{
	int fd = bind_loopback(SOCK_DGRAM);
	struct socket_line s;
	char want[64];

	snprintf(want, sizeof(want), " 0100007F:%04X ", bound_port(fd));
	CHECK(parse(find_line("udp", want), &s));
	CHECK_EQ(s.state, 7);
	CHECK_EQ(s.ino, inode_of(fd));
	CHECK_EQ(strlen(line), 128);
	close(fd);
	CHECK(!find_line("udp", want));
}

static void ipv6(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct socket_line s;
	char want[64];

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return; /* a host without IPv6 */
	CHECK_EQ(listen(fd, 1), 0);
	snprintf(want, sizeof(want), " 00000000000000000000000001000000:%04X ", bound_port(fd));
	CHECK(parse(find_line("tcp6", want), &s));
	CHECK_EQ(s.ino, inode_of(fd));
	CHECK(!find_line("tcp", want));
	close(fd);
	CHECK(find_line("if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"));
}

static void devices(void)
{
	unsigned long rx, tx, packets;

	CHECK(find_line("dev", "    lo:"));
	CHECK_EQ(sscanf(line, " lo: %lu %lu %*u %*u %*u %*u %*u %*u %lu", &rx, &packets, &tx), 3);
	CHECK(rx > 0 && packets > 0);
	CHECK_EQ(rx, tx);
	CHECK(find_line("route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask"));
	CHECK_EQ(strlen(line), 128);
	CHECK(!find_line("route", "\t0000007F\t"));
	CHECK(find_line("sockstat", "TCP: inuse "));
}

int main(void)
{
	alarm(50);
	tcp();
	udp();
	ipv6();
	devices();
	CHECK_DONE();
}
