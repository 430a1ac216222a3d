/* config.json: what is read from it, and what its errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "base/log.h"
#include "boot/oci/oci.h"

static struct sandbox_spec spec;
static char err[512];

static int parse(const char *text)
{
	spec_init(&spec);
	err[0] = 0;
	return oci_parse(text, strlen(text), &spec, err, sizeof(err));
}

static void assert_error(const char *text, const char *message)
{
	assert_int_not_equal(parse(text), 0);
	assert_string_equal(err, message);
	spec_free(&spec);
}

#define PROCESS "\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"]"
#define ROOT "\"root\":{\"path\":\"rootfs\"}"
#define CONFIG(process, rest) "{\"ociVersion\":\"1.0.2\"," PROCESS process "}," ROOT rest "}"

static void config_minimal_is_accepted(void **state)
{
	assert_int_equal(parse(CONFIG("", "")), 0);
	assert_string_equal(spec.container.process.argv[0], "sh");
	assert_null(spec.container.process.argv[1]);
	assert_non_null(spec.container.process.envp);
	assert_string_equal(spec.container.mounts[0].source, "rootfs");
	assert_true(spec.container.mounts[0].overlay);
	/* the runtime supplies /dev */
	assert_int_equal(spec.container.nmounts, 2);
	assert_string_equal(spec.container.mounts[1].fstype, "devtmpfs");
	spec_free(&spec);
}

static void config_process_is_read(void **state)
{
	assert_int_equal(
		parse(CONFIG(",\"env\":[\"A=b\"],\"terminal\":true,\"noNewPrivileges\":true,"
			     "\"oomScoreAdj\":7,\"user\":{\"uid\":1,\"gid\":2,\"umask\":63,"
			     "\"additionalGids\":[3,4]},"
			     "\"capabilities\":{\"bounding\":[\"CAP_KILL\"],"
			     "\"permitted\":[\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"]},"
			     "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":5,"
			     "\"hard\":18446744073709551615}]",
			     "")),
		0);
	assert_string_equal(spec.container.process.envp[0], "A=b");
	assert_true(spec.container.process.terminal && spec.container.process.no_new_privs);
	assert_int_equal(spec.container.process.oom_score_adj, 7);
	assert_int_equal(spec.container.process.uid, 1);
	assert_int_equal(spec.container.process.gid, 2);
	assert_int_equal(spec.container.process.umask, 63);
	assert_int_equal(spec.container.process.ngroups, 2);
	assert_int_equal(spec.container.process.groups[1], 4);
	assert_int_equal(spec.container.process.caps.effective, 1 << 5);
	assert_int_equal(spec.container.process.rlim[RLIMIT_NOFILE].rlim_cur, 5);
	assert_true(spec.container.process.rlim[RLIMIT_NOFILE].rlim_max == RLIM_INFINITY);
	spec_free(&spec);
}

static void config_capabilities_follow_the_kernels_rules(void **state)
{
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(parse(CONFIG(",\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_NEW\"],"
				      "\"permitted\":[\"CAP_KILL\",\"CAP_CHOWN\"],"
				      "\"inheritable\":[\"CAP_KILL\"],"
				      "\"ambient\":[\"CAP_KILL\",\"CAP_CHOWN\"]}",
				      "")),
			 0);
	log_set_level(LOG_LEVEL_WARN);
	assert_int_equal(spec.container.process.caps.bounding, 1 << 5);
	assert_int_equal(spec.container.process.caps.permitted, 1 << 5 | 1 << 0);
	assert_int_equal(spec.container.process.caps.ambient, 1 << 5);
	spec_free(&spec);
}

static void config_home_is_the_users_unless_given(void **state)
{
	assert_int_equal(parse(CONFIG(",\"env\":[\"A=b\",\"HOME=/h\"]", "")), 0);
	assert_int_equal(spec_default_home(&spec.container.process, "/"), 0);
	assert_string_equal(spec.container.process.envp[1], "HOME=/h");
	assert_null(spec.container.process.envp[2]);
	spec_free(&spec);
	assert_int_equal(parse(CONFIG(",\"user\":{\"uid\":4000000000}", "")), 0);
	assert_int_equal(spec_default_home(&spec.container.process, "/"), 0);
	assert_string_equal(spec.container.process.envp[0], "HOME=/");
	spec_free(&spec);
}

static void config_mounts_are_read(void **state)
{
	assert_int_equal(
		parse(CONFIG("", ",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
				 "\"options\":[\"nosuid\"]},"
				 "{\"destination\":\"/dev\",\"type\":\"tmpfs\","
				 "\"options\":[\"size=64k\",\"mode=755\",\"strictatime\"]},"
				 "{\"destination\":\"/data\",\"type\":\"none\",\"source\":\"d\","
				 "\"options\":[\"rbind\",\"ro\"]},"
				 "{\"destination\":\"/t\",\"type\":\"tmpfs\",\"source\":\"t\","
				 "\"options\":[\"size=1m\",\"uid=5\"]}]")),
		0);
	assert_int_equal(spec.container.nmounts, 5);
	assert_string_equal(spec.container.mounts[1].fstype, "proc");
	assert_int_equal(spec.container.mounts[1].flags, MS_NOSUID);
	assert_string_equal(spec.container.mounts[2].fstype, "devtmpfs");
	assert_string_equal(spec.container.mounts[2].options, "mode=755");
	assert_int_equal(spec.container.mounts[3].kind, MOUNT_HOST);
	assert_false(spec.container.mounts[3].overlay);
	assert_int_equal(spec.container.mounts[3].flags, MS_RDONLY);
	assert_string_equal(spec.container.mounts[4].options, "size=1m,uid=5");
	spec_free(&spec);
}

static void config_error_names_the_place(void **state)
{
	assert_error("{", "config.json: line 1, column 1: string or '}' expected near end of file");
	assert_error("[]", "config.json: expected an object");
	assert_error("{}", "config.json: ociVersion: missing");
	assert_error("{\"ociVersion\":\"2.0\"}",
		     "config.json: ociVersion: version '2.0' is not supported; 1.x is");
	assert_error("{\"ociVersion\":\"1.0\"}", "config.json: process: missing");
	assert_error("{\"ociVersion\":\"1.0\",\"process\":{\"cwd\":\"/\",\"args\":[1]}}",
		     "config.json: process.args[0]: expected a string");
	assert_error("{\"ociVersion\":\"1.0\",\"process\":{\"cwd\":\"/\",\"args\":[]}}",
		     "config.json: process.args: empty");
	assert_error("{\"ociVersion\":\"1.0\",\"process\":{\"cwd\":\"x\",\"args\":[\"a\"]}}",
		     "config.json: process.cwd: expected an absolute path");
	assert_error("{\"ociVersion\":\"1.0\"," PROCESS "}}", "config.json: root: missing");
	assert_error(CONFIG(",\"user\":{\"uid\":-1}", ""),
		     "config.json: process.user.uid: expected an integer from 0 to 4294967294");
	assert_error(CONFIG(",\"capabilities\":{\"inheritable\":[\"CAP_KILL\"]}", ""),
		     "config.json: process.capabilities: inheritable has capabilities that "
		     "bounding has not");
	assert_error(CONFIG(",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]", ""),
		     "config.json: process.rlimits[0]: unknown resource limit 'RLIMIT_X'");
	assert_error(CONFIG("", ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"ext4\"}]"),
		     "config.json: mounts[0]: no file system 'ext4'");
	assert_error(CONFIG("", ",\"mounts\":[{\"destination\":\"/a\",\"options\":[\"bind\"]}]"),
		     "config.json: mounts[0]: a bind mount needs a source");
	assert_error(CONFIG("", ",\"mounts\":[{\"destination\":\"/a\",\"source\":\"b\","
				"\"options\":[\"bind\",\"nosymfollow\"]}]"),
		     "config.json: mounts[0]: option 'nosymfollow' is not supported");
	assert_error(
		CONFIG("", ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"x\"}]}"),
		"config.json: linux.namespaces[1]: no namespace 'x'");
	assert_error(CONFIG("", ",\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":5,"
				"\"size\":1}]}"),
		     "config.json: linux.uidMappings[0]: ids of the container can only be the "
		     "host's own, not 0 as 5");
	assert_error(CONFIG("", ",\"linux\":{\"devices\":[{\"path\":\"/dev/fuse\","
				"\"type\":\"c\",\"major\":10,\"minor\":229}]}"),
		     "config.json: linux.devices[0]: moat has no device /dev/fuse (c 10:229)");
	assert_error(CONFIG("", ",\"hooks\":{\"poststop\":[{}]}"),
		     "config.json: hooks.poststop: hooks are not supported");
	assert_error(CONFIG("", ",\"linux\":{\"maskedPaths\":[\"proc\"]}"),
		     "config.json: linux.maskedPaths[0]: expected an absolute path");
}

static void paths_of_namespaces_are_kept(void **state)
{
	assert_int_equal(
		parse(CONFIG("", ",\"linux\":{\"namespaces\":["
				 "{\"type\":\"pid\",\"path\":\"/proc/7/ns/pid\"},"
				 "{\"type\":\"ipc\",\"path\":\"/proc/8/ns/ipc\"},"
				 "{\"type\":\"uts\"},{\"type\":\"cgroup\",\"path\":\"/x\"},"
				 "{\"type\":\"network\",\"path\":\"/run/netns/a\"}]}")),
		0);
	assert_string_equal(spec.ns_path[SPEC_NS_PID], "/proc/7/ns/pid");
	assert_string_equal(spec.ns_path[SPEC_NS_IPC], "/proc/8/ns/ipc");
	assert_null(spec.ns_path[SPEC_NS_UTS]);
	assert_null(spec.ns_path[SPEC_NS_NET]);
	assert_string_equal(spec.netns, "/run/netns/a");
	assert_true(spec.has_netns);
	spec_free(&spec);
	assert_error(CONFIG("", ",\"linux\":{\"namespaces\":["
				"{\"type\":\"ipc\",\"path\":\"ns/ipc\"}]}"),
		     "config.json: linux.namespaces[0]: 'ns/ipc' is no absolute path");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_minimal_is_accepted),
		cmocka_unit_test(config_process_is_read),
		cmocka_unit_test(config_capabilities_follow_the_kernels_rules),
		cmocka_unit_test(config_home_is_the_users_unless_given),
		cmocka_unit_test(config_mounts_are_read),
		cmocka_unit_test(paths_of_namespaces_are_kept),
		cmocka_unit_test(config_error_names_the_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
