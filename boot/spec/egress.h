/* The egress policy (netstack/egress.h) as people write and read it. */
#ifndef MOAT_BOOT_EGRESS_H
#define MOAT_BOOT_EGRESS_H

#include <stddef.h>

#include "boot/spec/spec.h"
#include "netstack/egress.h"

/* The annotation of config.json that has one. */
#define EGRESS_ANNOTATION "dev.moat.egress"

/*
 * Reads "allow", "deny", or a policy in JSON (docs/NETWORKING.md has the form); *out is to be freed
 * by net_egress_free(). `name` is for messages. 0, or -EINVAL or -ENOMEM with a message.
 */
int egress_parse(const char *text, size_t len, const char *name, struct net_egress_config *out,
		 char *err, size_t errlen);
/* The same from a --egress flag: "allow", "deny", or a file's name ("-": standard input). */
int egress_read(const char *value, struct net_egress_config *out, char *err, size_t errlen);
/* As egress_parse() reads it, on several lines; malloc'd. NULL: no memory. */
char *egress_format(const struct net_egress_config *c);

/* Adds the name servers of a file in the form of resolv.conf. What is no address is passed over. 0
 * or -errno. */
int egress_add_resolvers(struct net_egress_config *c, const char *path);

/*
 * The name servers of a container that its policy does not name (NULL: that of a new stack is
 * made). What the container's own root says is not asked: it may be an enemy's. `host`: its root is
 * the host's, or its names are resolved as the host's are. -ENOMEM.
 */
int egress_default_resolvers(struct sandbox_spec *spec, bool host);

#endif
