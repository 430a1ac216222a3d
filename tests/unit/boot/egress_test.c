/* Policies as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/spec/egress.h"
#include "boot/net/egress.h"

static struct net_egress_config config;
static char message[512];

static int parse(const char *text)
{
	*message = 0;
	return egress_parse(text, strlen(text), "policy", &config, message, sizeof(message));
}

static void words_are_policies(void **st)
{
	assert_int_equal(parse("allow"), 0);
	assert_true(config.allow);
	assert_false(config.allow_metadata);
	assert_int_equal(parse("deny"), 0);
	assert_false(config.allow);
	assert_int_not_equal(parse("allowed"), 0);
}

static void a_rule_is_read_as_it_says(void **st)
{
	const struct net_egress_rule *r;

	assert_int_equal(
		parse("{\"default\": \"deny\", \"metadata\": \"allow\","
		      " \"resolvers\": [\"192.0.2.53\", \"2001:db8::53\"], \"rules\": ["
		      "{\"allow\": \"*.Example.ORG.\", \"protocol\": \"tcp\", \"ports\": 443},"
		      "{\"deny\": \"10.0.0.0/8\"},"
		      "{\"allow\": \"2001:db8::/32\", \"protocol\": 99},"
		      "{\"allow\": \"any\", \"ports\": [53, \"8000-8010\"]}]}"),
		0);
	assert_true(config.allow_metadata);
	assert_int_equal(config.nresolvers, 2);
	assert_int_equal(config.resolvers[0].s6_addr[15], 53);
	assert_int_equal(config.nrules, 4);
	r = config.rules;
	assert_true(r->allow);
	assert_string_equal(r->name, "*.example.org");
	assert_int_equal(r->protocol, IPPROTO_TCP);
	assert_int_equal(r->nports, 1);
	assert_int_equal(r->ports[0].first, 443);
	r++;
	assert_false(r->allow);
	assert_int_equal(r->family, AF_INET);
	assert_int_equal(r->prefix, 8);
	assert_int_equal(r->addr.s6_addr[12], 10);
	r++;
	assert_int_equal(r->family, AF_INET6);
	assert_int_equal(r->prefix, 32);
	assert_int_equal(r->protocol, 99);
	r++;
	assert_int_equal(r->family, 0);
	assert_int_equal(r->nports, 2);
	assert_int_equal(r->ports[1].last, 8010);
	net_egress_free(&config);
}

static void what_is_not_understood_is_an_error_that_says_where(void **st)
{
	static const char *const wrong[][2] = {
		{"", "policy: line"},
		{"[]", "expected an object"},
		{"{\"default\": \"maybe\"}", "default: expected allow or deny"},
		{"{\"defualt\": \"deny\"}", "defualt: a policy has"},
		{"{\"default\": \"deny\", \"default\": \"allow\"}", "policy: line"},
		{"{\"rules\": {}}", "rules: expected an array"},
		{"{\"rules\": [1]}", "rules[0]: expected an object"},
		{"{\"rules\": [{}]}", "rules[0]: expected allow or deny"},
		{"{\"rules\": [{\"allow\": \"a\", \"deny\": \"b\"}]}", "expected allow or deny"},
		{"{\"rules\": [{\"allow\": 7}]}", "rules[0].allow: expected a string"},
		{"{\"rules\": [{\"allow\": \"\"}]}", "rules[0].allow"},
		{"{\"rules\": [{\"allow\": \"10.0.0.0/33\"}]}", "'10.0.0.0/33' is no address"},
		{"{\"rules\": [{\"allow\": \"10.0.0.256\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"10.0.0\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"::ffff:10.0.0.1\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"a..b\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"https://a.b\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"a.*.b\"}]}", "is no address"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"port\": 1}]}", "rules[0].port: a rule has"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"ports\": []}]}", "rules[0].ports: empty"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"ports\": \"9-8\"}]}", "expected a port"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"ports\": 65536}]}", "expected a port"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"ports\": \"80 \"}]}", "expected a port"},
		{"{\"rules\": [{\"allow\": \"a.b\", \"protocol\": \"http\"}]}", "expected tcp"},
		{"{\"rules\": [{\"deny\": \"a.b\", \"ports\": 80}]}", "a name is denied"},
		{"{\"resolvers\": [\"ns.example.org\"]}", "resolvers[0]: expected an address"},
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		if (!parse(wrong[i][0]) || !strstr(message, wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], message);
		assert_null(config.rules);
	}
}

static void too_many_rules_are_an_error(void **st)
{
	char *text = malloc(64 << 10), *p = text;

	p += sprintf(p, "{\"rules\": [{\"allow\": \"any\"}");
	for (int i = 0; i < NET_EGRESS_RULES_MAX; i++)
		p += sprintf(p, ",{\"allow\": \"any\"}");
	strcpy(p, "]}");
	assert_int_not_equal(parse(text), 0);
	assert_non_null(strstr(message, "more than 1024"));
	free(text);
}

static void what_is_printed_is_read_as_the_same(void **st)
{
	Moat__EgressPolicy *wire;
	struct net_egress_config again;
	char *text, *second;

	assert_int_equal(
		parse("{\"default\": \"deny\", \"resolvers\": [\"192.0.2.53\"], \"rules\": ["
		      "{\"allow\": \"www.example.org\", \"ports\": [1, \"2-3\"]},"
		      "{\"deny\": \"0.0.0.0/0\", \"protocol\": \"icmp\"},"
		      "{\"deny\": \"::/0\", \"protocol\": 77},"
		      "{\"allow\": \"any\", \"protocol\": \"udp\"}]}"),
		0);
	text = egress_format(&config);
	wire = egress_to_wire(&config);
	assert_int_equal(egress_from_wire(wire, &again), 0);
	second = egress_format(&again);
	assert_string_equal(text, second);
	free(second);
	net_egress_free(&again);
	net_egress_free(&config);
	moat__egress_policy__free_unpacked(wire, NULL);
	assert_int_equal(parse(text), 0);
	second = egress_format(&config);
	assert_string_equal(text, second);
	free(second);
	free(text);
	net_egress_free(&config);
}

static void name_servers_are_those_of_resolv_conf(void **st)
{
	char path[] = "/tmp/moat-resolv.XXXXXX";
	static const char text[] = "# a comment\nnameserver 192.0.2.1\nsearch example.org\n"
				   " nameserver\t2001:db8::1\nnameserver fe80::1%eth0\n"
				   "nameserver nonsense\n;nameserver 192.0.2.2\noptions edns0\n";
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	config = (struct net_egress_config){0};
	assert_int_equal(egress_add_resolvers(&config, path), 0);
	unlink(path);
	assert_int_equal(config.nresolvers, 3);
	assert_int_equal(config.resolvers[0].s6_addr[15], 1);
	assert_int_equal(config.resolvers[1].s6_addr[0], 0x20);
	assert_int_equal(config.resolvers[2].s6_addr[0], 0xfe);
	net_egress_free(&config);
}

static void the_containers_own_root_names_no_name_server(void **st)
{
	struct sandbox_spec spec;

	spec_init(&spec);
	spec_add_mount(&spec.container, MOUNT_HOST, "/nowhere/rootfs", "/", NULL, 0, NULL, NULL);
	assert_int_equal(egress_default_resolvers(&spec, false), 0);
	assert_true(spec.egress->allow);
	assert_int_equal(spec.egress->nresolvers, 0);
	spec_free(&spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_policies),
		cmocka_unit_test(a_rule_is_read_as_it_says),
		cmocka_unit_test(what_is_not_understood_is_an_error_that_says_where),
		cmocka_unit_test(too_many_rules_are_an_error),
		cmocka_unit_test(what_is_printed_is_read_as_the_same),
		cmocka_unit_test(name_servers_are_those_of_resolv_conf),
		cmocka_unit_test(the_containers_own_root_names_no_name_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
