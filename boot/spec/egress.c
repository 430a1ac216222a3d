/* Policies in JSON. */
#include "boot/spec/egress.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "boot/spec/json_bind.h"

#define FILE_MAX ((size_t)1 << 20)
#define RESOLV_CONF "/etc/resolv.conf"

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	{"tcp", IPPROTO_TCP},	{"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP},
	{"sctp", IPPROTO_SCTP}, {"gre", IPPROTO_GRE}, {"esp", IPPROTO_ESP},
};

/* --- addresses and names ---------------------------------------------------------------------- */

static bool parse_address(const char *text, int *family, struct in6_addr *addr)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*family = AF_INET;
		memset(addr, 0, sizeof(*addr));
		addr->s6_addr[10] = addr->s6_addr[11] = 0xff;
		memcpy(addr->s6_addr + 12, &v4, 4);
		return true;
	}
	*family = AF_INET6;
	return inet_pton(AF_INET6, text, addr) == 1 && !IN6_IS_ADDR_V4MAPPED(addr);
}

static void format_address(const struct in6_addr *addr, char *text, size_t size)
{
	if (IN6_IS_ADDR_V4MAPPED(addr))
		inet_ntop(AF_INET, addr->s6_addr + 12, text, (socklen_t)size);
	else
		inet_ntop(AF_INET6, addr, text, (socklen_t)size);
}

/* An address or a prefix. False: it is neither. */
static bool take_prefix(const char *text, struct net_egress_rule *r)
{
	size_t n = strcspn(text, "/");
	char addr[INET6_ADDRSTRLEN], *end;
	unsigned long bits;

	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = 0;
	if (!parse_address(addr, &r->family, &r->addr)) {
		r->family = 0;
		return false;
	}
	bits = r->family == AF_INET ? 32 : 128;
	if (text[n]) {
		unsigned long given = strtoul(text + n + 1, &end, 10);

		if (!isdigit((unsigned char)text[n + 1]) || *end || given > bits) {
			r->family = 0;
			return false;
		}
		bits = given;
	}
	r->prefix = (uint8_t)bits;
	return true;
}

/* Lower case, no final dot. What ends in a number would be a mistyped address. */
static bool take_name(const char *text, struct net_egress_rule *r)
{
	size_t n = strlen(text);
	const char *end;

	if (n && text[n - 1] == '.')
		n--;
	if (n >= sizeof(r->name))
		return false;
	for (size_t i = 0; i < n; i++)
		r->name[i] = (char)tolower((unsigned char)text[i]);
	r->name[n] = 0;
	end = strrchr(r->name, '.');
	end = end ? end + 1 : r->name;
	return net_egress_name_valid(r->name) && end[strspn(end, "0123456789")];
}

static void take_target(struct json_bind *b, const char *text, struct net_egress_rule *r)
{
	if (strcmp(text, "any") && !take_prefix(text, r) && !take_name(text, r))
		json_bind_fail(b, "'%s' is no address, ADDRESS/BITS, name, *.NAME, nor \"any\"",
			       text);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void take_protocol(struct json_bind *b, json_t *v, struct net_egress_rule *r)
{
	const char *text = json_string_value(v);

	if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < 256) {
		r->protocol = (uint8_t)json_integer_value(v);
		return;
	}
	for (unsigned i = 0; text && i < ARRAY_SIZE(protocols); i++)
		if (!strcmp(text, protocols[i].name)) {
			r->protocol = protocols[i].number;
			return;
		}
	json_bind_fail(b, "expected tcp, udp, icmp, sctp, gre, esp, or a number from 1 to 255");
}

static bool read_port(const char **text, uint16_t *port)
{
	char *end;
	unsigned long n = isdigit((unsigned char)**text) ? strtoul(*text, &end, 10) : 65536;

	if (n > 65535)
		return false;
	*port = (uint16_t)n;
	*text = end;
	return true;
}

/* 443, or "8000-8010". */
static void take_port(struct json_bind *b, json_t *v, struct net_egress_rule *r)
{
	struct net_port_range range = {0};
	const char *text = json_string_value(v);
	bool ok = false;

	if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= 65535) {
		range.first = range.last = (uint16_t)json_integer_value(v);
		ok = true;
	} else if (text && read_port(&text, &range.first)) {
		range.last = range.first;
		ok = !*text || (*text++ == '-' && read_port(&text, &range.last) && !*text);
	}
	if (!ok || range.first > range.last)
		json_bind_fail(b, "expected a port, or a range as \"8000-8010\"");
	else if (r->nports == NET_EGRESS_PORTS_MAX)
		json_bind_fail(b, "more than %d of them", NET_EGRESS_PORTS_MAX);
	else
		r->ports[r->nports++] = range;
}

static void take_ports(struct json_bind *b, json_t *v, struct net_egress_rule *r)
{
	json_t *element;
	size_t i;

	if (!json_is_array(v)) {
		take_port(b, v, r);
		return;
	}
	if (!json_array_size(v))
		json_bind_fail(b, "empty");
	json_array_foreach(v, i, element)
	{
		json_bind_enter_index(b, i);
		take_port(b, element, r);
		json_bind_leave(b);
	}
}

/* A key that is misspelt would be a rule that says less than was meant: it is an error. */
static void take_rule(struct json_bind *b, json_t *rule, struct net_egress_rule *r)
{
	unsigned targets = 0;
	const char *key;
	json_t *v;

	if (!json_is_object(rule)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	json_object_foreach(rule, key, v)
	{
		json_bind_enter(b, key);
		if (!strcmp(key, "allow") || !strcmp(key, "deny")) {
			targets++;
			r->allow = *key == 'a';
			if (!json_is_string(v))
				json_bind_fail(b, "expected a string");
			else
				take_target(b, json_string_value(v), r);
		} else if (!strcmp(key, "protocol")) {
			take_protocol(b, v, r);
		} else if (!strcmp(key, "ports")) {
			take_ports(b, v, r);
		} else {
			json_bind_fail(b, "a rule has allow or deny, protocol, ports");
		}
		json_bind_leave(b);
	}
	if (targets != 1)
		json_bind_fail(b, "expected allow or deny");
	else if (!r->allow && *r->name && (r->protocol || r->nports))
		json_bind_fail(b, "a name is denied to be asked for: no protocol and no ports");
}

static void take_rules(struct json_bind *b, json_t *list, struct net_egress_config *c)
{
	json_t *rule;
	size_t i;

	if (json_array_size(list) > NET_EGRESS_RULES_MAX) {
		json_bind_fail(b, "more than %d", NET_EGRESS_RULES_MAX);
		return;
	}
	c->rules = calloc(json_array_size(list) + 1, sizeof(*c->rules));
	if (!c->rules) {
		json_bind_fail(b, "out of memory");
		return;
	}
	json_array_foreach(list, i, rule)
	{
		json_bind_enter_index(b, i);
		take_rule(b, rule, &c->rules[c->nrules++]);
		json_bind_leave(b);
	}
}

/* --- policies --------------------------------------------------------------------------------- */

static int add_resolver(struct net_egress_config *c, const char *text)
{
	struct in6_addr addr, *list;
	int family;

	if (!parse_address(text, &family, &addr))
		return -EINVAL;
	if (c->nresolvers == NET_EGRESS_RESOLVERS_MAX)
		return -E2BIG;
	list = realloc(c->resolvers, (c->nresolvers + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	c->resolvers = list;
	list[c->nresolvers++] = addr;
	return 0;
}

static void take_resolvers(struct json_bind *b, json_t *list, struct net_egress_config *c)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		int ret = json_is_string(v) ? add_resolver(c, json_string_value(v)) : -EINVAL;

		json_bind_enter_index(b, i);
		if (ret)
			json_bind_fail(b, ret == -E2BIG ? "too many" : "expected an address");
		json_bind_leave(b);
	}
}

/* "allow" or "deny". */
static bool take_choice(struct json_bind *b, json_t *v)
{
	const char *text = json_string_value(v);

	if (!text || (strcmp(text, "allow") && strcmp(text, "deny"))) {
		json_bind_fail(b, "expected allow or deny");
		return false;
	}
	return *text == 'a';
}

static void take_policy(struct json_bind *b, json_t *policy, struct net_egress_config *c)
{
	const char *key;
	json_t *v;

	if (!json_is_object(policy)) {
		json_bind_fail(b, "expected an object");
		return;
	}
	json_object_foreach(policy, key, v)
	{
		json_bind_enter(b, key);
		if (!strcmp(key, "default"))
			c->allow = take_choice(b, v);
		else if (!strcmp(key, "metadata"))
			c->allow_metadata = take_choice(b, v);
		else if (!strcmp(key, "rules") && json_is_array(v))
			take_rules(b, v, c);
		else if (!strcmp(key, "resolvers") && json_is_array(v))
			take_resolvers(b, v, c);
		else if (!strcmp(key, "rules") || !strcmp(key, "resolvers"))
			json_bind_fail(b, "expected an array");
		else
			json_bind_fail(b, "a policy has default, metadata, rules, resolvers");
		json_bind_leave(b);
	}
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(text, word, len);
}

int egress_parse(const char *text, size_t len, const char *name, struct net_egress_config *out,
		 char *err, size_t errlen)
{
	json_error_t where;
	struct json_bind b;
	json_t *j;

	*out = (struct net_egress_config){.allow = is_word(text, len, "allow")};
	if (out->allow || is_word(text, len, "deny"))
		return 0;
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!j) {
		snprintf(err, errlen, "%s: line %d, column %d: %s", name, where.line, where.column,
			 where.text);
		return -EINVAL;
	}
	json_bind_init(&b, name, err, errlen);
	take_policy(&b, j, out);
	json_decref(j);
	if (b.failed)
		net_egress_free(out);
	return b.failed ? -EINVAL : 0;
}

int egress_read(const char *value, struct net_egress_config *out, char *err, size_t errlen)
{
	int __close_fd fd = -1;
	char *__free text = NULL;
	size_t len = 0;
	ssize_t n;

	if (!strcmp(value, "allow") || !strcmp(value, "deny"))
		return egress_parse(value, strlen(value), value, out, err, errlen);
	fd = strcmp(value, "-") ? open(value, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	text = malloc(FILE_MAX + 1);
	n = fd < 0 || !text ? -1 : 1;
	while (n > 0 && len <= FILE_MAX) {
		n = read(fd, text + len, FILE_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			len += (size_t)n;
	}
	if (n < 0 || len > FILE_MAX) {
		int ret = n < 0 ? -errno : -EFBIG;

		snprintf(err, errlen, "%s: %s", value, strerror(-ret));
		return ret;
	}
	return egress_parse(text, len, value, out, err, errlen);
}

/* --- out -------------------------------------------------------------------------------------- */

static json_t *format_ports(const struct net_egress_rule *r)
{
	json_t *list = json_array();
	char text[16];

	for (unsigned i = 0; i < r->nports; i++) {
		if (r->ports[i].first == r->ports[i].last) {
			json_array_append_new(list, json_integer(r->ports[i].first));
			continue;
		}
		snprintf(text, sizeof(text), "%u-%u", r->ports[i].first, r->ports[i].last);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *format_rule(const struct net_egress_rule *r)
{
	json_t *j = json_object(), *protocol = json_integer(r->protocol);
	char target[NET_EGRESS_NAME_SIZE] = "any";
	size_t n;

	if (*r->name) {
		memcpy(target, r->name, sizeof(target));
	} else if (r->family) {
		format_address(&r->addr, target, sizeof(target));
		n = strlen(target);
		if (r->prefix != (r->family == AF_INET ? 32 : 128))
			snprintf(target + n, sizeof(target) - n, "/%u", r->prefix);
	}
	json_object_set_new(j, r->allow ? "allow" : "deny", json_string(target));
	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++)
		if (r->protocol == protocols[i].number) {
			json_decref(protocol);
			protocol = json_string(protocols[i].name);
		}
	if (r->protocol)
		json_object_set(j, "protocol", protocol);
	json_decref(protocol);
	if (r->nports)
		json_object_set_new(j, "ports", format_ports(r));
	return j;
}

char *egress_format(const struct net_egress_config *c)
{
	json_t *rules = json_array(), *resolvers = json_array(), *j;
	char text[INET6_ADDRSTRLEN];
	char *out;

	for (unsigned i = 0; i < c->nrules; i++)
		json_array_append_new(rules, format_rule(&c->rules[i]));
	for (unsigned i = 0; i < c->nresolvers; i++) {
		format_address(&c->resolvers[i], text, sizeof(text));
		json_array_append_new(resolvers, json_string(text));
	}
	j = json_pack("{s:s, s:s, s:o, s:o}", "default", c->allow ? "allow" : "deny", "metadata",
		      c->allow_metadata ? "allow" : "deny", "resolvers", resolvers, "rules", rules);
	out = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	json_decref(j);
	return out;
}

/* --- name servers ----------------------------------------------------------------------------- */

int egress_add_resolvers(struct net_egress_config *c, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[512], server[128];
	int ret = 0;

	if (!f)
		return -errno;
	while (ret != -ENOMEM && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nameserver %127s", server) != 1)
			continue;
		server[strcspn(server, "%")] = 0; /* the link of a link-local one */
		ret = add_resolver(c, server);
	}
	fclose(f);
	return ret == -ENOMEM ? ret : 0;
}

int egress_default_resolvers(struct sandbox_spec *spec, bool host)
{
	const struct container_spec *c = &spec->container;
	const char *path = host ? RESOLV_CONF : NULL;
	int ret;

	if (!spec->egress) {
		spec->egress = calloc(1, sizeof(*spec->egress));
		if (!spec->egress)
			return -ENOMEM;
		spec->egress->allow = true;
	}
	if (spec->egress->nresolvers)
		return 0;
	for (unsigned i = 0; i < c->nmounts; i++) {
		if (c->mounts[i].kind != MOUNT_HOST || !c->mounts[i].source)
			continue;
		if (!strcmp(c->mounts[i].target, RESOLV_CONF))
			path = c->mounts[i].source;
		else if (!strcmp(c->mounts[i].target, "/") && !strcmp(c->mounts[i].source, "/"))
			path = RESOLV_CONF;
	}
	ret = path ? egress_add_resolvers(spec->egress, path) : 0;
	return ret == -ENOMEM ? ret : 0;
}
