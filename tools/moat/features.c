/* moat features: what of the runtime specification there is, as JSON (features.md of the OCI). */
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

#include <jansson.h>

#include "base/compiler.h"
#include "boot/oci/hooks.h"
#include "boot/oci/oci_mounts.h"
#include "boot/oci/oci_seccomp.h"
#include "tools/moat/cli.h"

static json_t *list_of(const char *(*name)(unsigned i))
{
	json_t *list = json_array();
	const char *n;

	for (unsigned i = 0; list && (n = name(i)); i++)
		json_array_append_new(list, json_string(n));
	return list;
}

static json_t *capabilities(void)
{
	json_t *list = json_array();

	for (cap_value_t cap = 0; cap <= CAP_LAST_CAP; cap++) {
		char *name = cap_to_name(cap);

		/* Lower case is libcap's way. */
		for (char *p = name; p && *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 'a' + 'A');
		if (name && !strncmp(name, "CAP_", 4))
			json_array_append_new(list, json_string(name));
		cap_free(name);
	}
	return list;
}

static json_t *linux_part(void)
{
	return json_pack(
		"{s:[s, s, s, s, s], s:o, s:{s:b, s:b, s:b, s:b}, s:{s:b, s:o, s:o, s:[s]}, "
		"s:{s:b}, s:{s:b}}",
		"namespaces", "ipc", "mount", "network", "pid", "uts", "capabilities",
		capabilities(), "cgroup", "v1", 1, "v2", 1, "systemd", 0, "systemdUser", 0,
		"seccomp", "enabled", 1, "actions", list_of(oci_seccomp_action), "operators",
		list_of(oci_seccomp_operator), "archs", "SCMP_ARCH_X86_64", "apparmor", "enabled",
		0, "selinux", "enabled", 0);
}

static int run_features(const struct cli_options *options, int argc, char **argv)
{
	const struct scmp_version *v = seccomp_version();
	char version[64], *__free text = NULL;
	json_t *j;

	(void)options;
	(void)argv;
	if (argc != 1)
		return cli_fail("features: too many arguments (see 'moat help features')");
	snprintf(version, sizeof(version), "%u.%u.%u", v->major, v->minor, v->micro);
	j = json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:s, s:s, s:s}}", "ociVersionMin", "1.0.0",
		      "ociVersionMax", OCI_VERSION, "hooks", list_of(hooks_kind), "mountOptions",
		      list_of(oci_mount_option), "linux", linux_part(), "annotations",
		      "io.github.seccomp.libseccomp.version", version,
		      "org.moat.checkpoint.enabled", "false", "org.moat.version", MOAT_VERSION);
	text = j ? json_dumps(j, JSON_INDENT(4)) : NULL;
	json_decref(j);
	if (!text)
		return cli_fail("features: no memory");
	puts(text);
	return 0;
}

const struct cli_command cli_features = {
	.name = "features",
	.usage = "",
	.summary = "Print what of the OCI runtime specification is supported, as JSON",
	.run = run_features,
};
