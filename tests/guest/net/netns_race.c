/* Threads that make, move, join to bridges and remove the same links in three network namespaces,
 * and others that end: whatever the order, each call has an answer, and nothing is left. */
#include "net/rtnl.h"

#include <netpacket/packet.h>
#include <pthread.h>
#include <stdatomic.h>

#define SPACES 3
#define THREADS 6
#define ROUNDS 80

static int space[SPACES], asker[THREADS][SPACES + 1];
static atomic_int done;

static void *mix(void *arg)
{
	int n = (int)(intptr_t)arg;
	unsigned seed = 1 + (unsigned)n;
	char a[16], b[16];

	for (int i = 0; i < ROUNDS; i++) {
		int at = rand_r(&seed) % SPACES, to = rand_r(&seed) % SPACES;
		int s = asker[n][at];
		struct rtnl_request r;

		snprintf(a, sizeof(a), "r%d", rand_r(&seed) % 3);
		snprintf(b, sizeof(b), "r%d", rand_r(&seed) % 3);
		switch (rand_r(&seed) % 6) {
		case 0:
		case 1:
			rtnl_add_veth(s, a, b, IFLA_NET_NS_FD, space[to]);
			break;
		case 2:
		case 3:
			rtnl_move(s, a, IFLA_NET_NS_FD, space[to]);
			break;
		case 4:
			rtnl_del(s, a);
			break;
		default: /* up, and a port of the bridge, whose index is 2 */
			rtnl_begin(&r, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
			((struct ifinfomsg *)r.body)->ifi_flags = IFF_UP;
			((struct ifinfomsg *)r.body)->ifi_change = IFF_UP;
			rtnl_string(&r, IFLA_IFNAME, a);
			rtnl_u32(&r, IFLA_MASTER, rand_r(&seed) % 4 ? 2 : 0);
			rtnl_do(s, &r);
		}
	}
	done++;
	return NULL;
}

/* Frames through what the others take apart: to everybody, by a link of its own at a bridge that
 * comes and goes. */
static void *send_frames(void *arg)
{
	char frame[64] = {-1, -1, -1, -1, -1, -1, 2, 0, 0, 0, 0, 1, (char)0x88, (char)0xb5};
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_halen = 6, .sll_ifindex = (int)if_nametoindex("f0")};
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	REQUIRE(s >= 0);
	while (done < THREADS - 1)
		sendto(s, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	return NULL;
}

static void set_link(int s, const char *name, int master)
{
	struct rtnl_request r;

	rtnl_begin(&r, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	((struct ifinfomsg *)r.body)->ifi_flags = IFF_UP;
	((struct ifinfomsg *)r.body)->ifi_change = IFF_UP;
	rtnl_string(&r, IFLA_IFNAME, name);
	if (master)
		rtnl_u32(&r, IFLA_MASTER, (unsigned)master);
	rtnl_do(s, &r);
}

static int add_bridge(int s, const char *name)
{
	struct rtnl_request r;
	struct rtattr *info;

	rtnl_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	rtnl_string(&r, IFLA_IFNAME, name);
	info = rtnl_attr(&r, IFLA_LINKINFO, NULL, 0);
	rtnl_string(&r, IFLA_INFO_KIND, "bridge");
	rtnl_end(&r, info);
	return rtnl_do(s, &r);
}

static void *take_bridges(void *arg)
{
	int s = asker[0][SPACES];

	while (done < THREADS - 1) {
		add_bridge(s, "brf");
		set_link(s, "brf", 0);
		set_link(s, "f1", (int)if_nametoindex("brf"));
		rtnl_del(s, "brf");
	}
	return NULL;
}

/* Namespaces that come and go with one end of a pair in them. */
static void *end(void *arg)
{
	int s = asker[THREADS - 1][0];

	while (done < THREADS - 1) {
		int fd;

		REQUIRE(unshare(CLONE_NEWNET) == 0);
		fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		REQUIRE(fd >= 0);
		rtnl_add_veth(s, "end", "end1", IFLA_NET_NS_FD, fd);
		rtnl_move(s, "r0", IFLA_NET_NS_FD, fd);
		close(fd);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS + 2];

	if (geteuid() || unshare(CLONE_NEWNET))
		return 0; /* it would be the host's */
	for (int i = 0; i < SPACES; i++) {
		REQUIRE(unshare(CLONE_NEWNET) == 0);
		space[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		REQUIRE(space[i] >= 0);
		for (int t = 0; t < THREADS; t++)
			asker[t][i] = rtnl_open(0);
		CHECK_EQ(add_bridge(asker[0][i], "br0"), 0);
	}
	REQUIRE(unshare(CLONE_NEWNET) == 0);
	asker[0][SPACES] = rtnl_open(0);
	CHECK_EQ(rtnl_add_veth(asker[0][SPACES], "f0", "f1", 0, 0), 0);
	set_link(asker[0][SPACES], "f0", 0);
	set_link(asker[0][SPACES], "f1", 0);
	REQUIRE(!pthread_create(&thread[THREADS], NULL, send_frames, NULL));
	REQUIRE(!pthread_create(&thread[THREADS + 1], NULL, take_bridges, NULL));
	for (int t = 0; t < THREADS; t++)
		REQUIRE(!pthread_create(&thread[t], NULL, t == THREADS - 1 ? end : mix,
					(void *)(intptr_t)t));
	for (int t = 0; t < THREADS + 2; t++)
		pthread_join(thread[t], NULL);
	for (int i = 0; i < SPACES; i++) {
		for (int k = 0; k < 3; k++) {
			char name[16];

			snprintf(name, sizeof(name), "r%d", k);
			while (rtnl_exists(asker[0][i], name) && rtnl_del(asker[0][i], name))
				;
		}
		CHECK(!rtnl_exists(asker[0][i], "r0"));
		CHECK_EQ(rtnl_del(asker[0][i], "br0"), 0);
	}
	CHECK_DONE();
}
