#include "boot/net/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "boot/net/resolver.h"

#define CALL_MS 60000

static int open_user_ns(pid_t sandbox)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", sandbox);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int pass(struct network_found *found, char *id, struct control_client *client, char *err,
		size_t errlen)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	char *none = found->links->id;
	struct control_error error;
	int ret;

	request.call_case = MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES;
	request.create_links_and_routes = found->links;
	/* Only while it is sent: freeing the frame would free the name. */
	found->links->id = id;
	ret = control_client_call(client, &request, found->fds, found->nfds, CALL_MS, NULL, &error);
	found->links->id = none;
	if (ret)
		snprintf(err, errlen, "network: %s", error.text);
	return ret;
}

int network_set_up(const struct network_place *place, bool rootless, char *id,
		   struct control_client *client, pid_t *resolver, char *err, size_t errlen)
{
	int __close_fd ns = network_open(place, err, errlen);
	int __close_fd user = -1;
	struct network_found found;
	int ret;

	if (ns < 0)
		return ns;
	if (rootless) {
		user = open_user_ns(place->sandbox);
		if (user < 0) {
			snprintf(err, errlen, "user namespace of the sandbox: %s", strerror(-user));
			return user;
		}
	}
	ret = network_take(ns, user, &found, err, errlen);
	if (ret)
		return ret;
	*resolver = 0;
	if (found.links->resolver && found.nfds < CONTROL_FDS_MAX) {
		*resolver = resolver_start(ns, user, &found.fds[found.nfds], err, errlen);
		ret = *resolver < 0 ? *resolver : 0;
		found.nfds += !ret;
	}
	if (!ret)
		ret = pass(&found, id, client, err, errlen);
	/* Without its socket the resolver's process ends, too. */
	network_found_free(&found);
	return ret;
}
