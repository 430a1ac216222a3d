/* /proc/cpuinfo, from the processor itself: guests run on it natively, so what cpuid says is true
 * for them. */
#include <cpuid.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/kernel/core/machine.h"

/* Linux's names of feature bits (asm/cpufeatures.h); a NULL is a bit without a name there. */
static const char *const leaf1_edx[32] = {
	"fpu",	"vme",	"de",	"pse", "tsc",  "msr", "pae",   "mce", "cx8",	 "apic", NULL,
	"sep",	"mtrr", "pge",	"mca", "cmov", "pat", "pse36", "pn",  "clflush", NULL,	 "dts",
	"acpi", "mmx",	"fxsr", "sse", "sse2", "ss",  "ht",    "tm",  "ia64",	 "pbe"};
static const char *const leaf1_ecx[32] = {
	"pni",	  "pclmulqdq", "dtes64", "monitor", "ds_cpl",
	"vmx",	  "smx",       "est",	 "tm2",	    "ssse3",
	"cid",	  "sdbg",      "fma",	 "cx16",    "xtpr",
	"pdcm",	  NULL,	       "pcid",	 "dca",	    "sse4_1",
	"sse4_2", "x2apic",    "movbe",	 "popcnt",  "tsc_deadline_timer",
	"aes",	  "xsave",     NULL,	 "avx",	    "f16c",
	"rdrand", "hypervisor"};
static const char *const leaf7_ebx[32] = {
	"fsgsbase",   "tsc_adjust", "sgx",	  "bmi1",     "hle",	  "avx2",     NULL,
	"smep",	      "bmi2",	    "erms",	  "invpcid",  "rtm",	  "cqm",      NULL,
	"mpx",	      "rdt_a",	    "avx512f",	  "avx512dq", "rdseed",	  "adx",      "smap",
	"avx512ifma", NULL,	    "clflushopt", "clwb",     "intel_pt", "avx512pf", "avx512er",
	"avx512cd",   "sha_ni",	    "avx512bw",	  "avx512vl"};
static const char *const leaf7_ecx[32] = {[1] = "avx512vbmi",
					  [2] = "umip",
					  [3] = "pku",
					  [4] = "ospke",
					  [5] = "waitpkg",
					  [6] = "avx512_vbmi2",
					  [8] = "gfni",
					  [9] = "vaes",
					  [10] = "vpclmulqdq",
					  [11] = "avx512_vnni",
					  [12] = "avx512_bitalg",
					  [13] = "tme",
					  [14] = "avx512_vpopcntdq",
					  [16] = "la57",
					  [22] = "rdpid",
					  [24] = "bus_lock_detect",
					  [25] = "cldemote",
					  [27] = "movdiri",
					  [28] = "movdir64b",
					  [29] = "enqcmd"};
static const char *const leaf7_edx[32] = {[4] = "fsrm",
					  [8] = "avx512_vp2intersect",
					  [10] = "md_clear",
					  [14] = "serialize",
					  [16] = "tsxldtrk",
					  [18] = "pconfig",
					  [19] = "arch_lbr",
					  [22] = "amx_bf16",
					  [23] = "avx512_fp16",
					  [24] = "amx_tile",
					  [25] = "amx_int8",
					  [28] = "flush_l1d",
					  [29] = "arch_capabilities"};
static const char *const ext1_edx[32] = {
	[11] = "syscall", [19] = "mp",	   [20] = "nx", [22] = "mmxext",   [25] = "fxsr_opt",
	[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow"};
static const char *const ext1_ecx[32] = {
	[0] = "lahf_lm",       [1] = "cmp_legacy",  [2] = "svm",    [3] = "extapic",
	[4] = "cr8_legacy",    [5] = "abm",	    [6] = "sse4a",  [7] = "misalignsse",
	[8] = "3dnowprefetch", [9] = "osvw",	    [10] = "ibs",   [11] = "xop",
	[12] = "skinit",       [13] = "wdt",	    [15] = "lwp",   [16] = "fma4",
	[17] = "tce",	       [19] = "nodeid_msr", [21] = "tbm",   [22] = "topoext",
	[23] = "perfctr_core", [24] = "perfctr_nb", [26] = "bpext", [28] = "perfctr_llc",
	[29] = "mwaitx"};
static const char *const xsave_eax[32] = {
	[0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves"};
static const char *const ext8_ebx[32] = {
	[0] = "clzero", [1] = "irperf", [2] = "xsaveerptr", [4] = "rdpru", [9] = "wbnoinvd"};

static const struct feature_word {
	uint32_t leaf, subleaf;
	int reg; /* 0 eax ... 3 edx */
	const char *const *names;
} words[] = {
	{1, 0, 3, leaf1_edx},	      {0x80000001, 0, 3, ext1_edx}, {1, 0, 2, leaf1_ecx},
	{0x80000001, 0, 2, ext1_ecx}, {7, 0, 1, leaf7_ebx},	    {0xd, 1, 0, xsave_eax},
	{0x80000008, 0, 1, ext8_ebx}, {7, 0, 2, leaf7_ecx},	    {7, 0, 3, leaf7_edx},
};

static void show_flags(struct text *out)
{
	text_puts(out, "flags\t\t:");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t r[4] = {0};

		if (!__get_cpuid_count(words[i].leaf, words[i].subleaf, &r[0], &r[1], &r[2], &r[3]))
			continue;
		for (int bit = 0; bit < 32; bit++)
			if ((r[words[i].reg] & (1u << bit)) && words[i].names[bit])
				text_printf(out, " %s", words[i].names[bit]);
	}
	text_puts(out, " constant_tsc rep_good nopl cpuid\n");
}

struct cpu_id {
	char vendor[13], model_name[49];
	unsigned family, model, stepping, cpuid_level, cache_kb, clflush, phys_bits, virt_bits;
};

static void identify(struct cpu_id *id)
{
	uint32_t a, b, c, d, brand[12] = {0};

	memset(id, 0, sizeof(*id));
	__cpuid(0, a, b, c, d);
	id->cpuid_level = a;
	memcpy(id->vendor, &b, 4);
	memcpy(id->vendor + 4, &d, 4);
	memcpy(id->vendor + 8, &c, 4);
	__cpuid(1, a, b, c, d);
	id->family = (a >> 8) & 15;
	id->model = (a >> 4) & 15;
	if (id->family >= 6)
		id->model |= (a >> 12) & 0xf0;
	if (id->family == 15)
		id->family += (a >> 20) & 0xff;
	id->stepping = a & 15;
	id->clflush = ((b >> 8) & 0xff) * 8;
	for (uint32_t i = 0; i < 3; i++)
		__get_cpuid(0x80000002 + i, &brand[i * 4], &brand[i * 4 + 1], &brand[i * 4 + 2],
			    &brand[i * 4 + 3]);
	memcpy(id->model_name, brand, 48);
	/* The largest cache: leaf 4, or AMD's 0x8000001d. */
	for (uint32_t leaf = 4; leaf; leaf = leaf == 4 ? 0x8000001d : 0) {
		for (uint32_t i = 0; i < 8 && __get_cpuid_count(leaf, i, &a, &b, &c, &d); i++) {
			uint64_t size = ((uint64_t)(b >> 22) + 1) * (((b >> 12) & 0x3ff) + 1) *
					((b & 0xfff) + 1) * ((uint64_t)c + 1);

			if (!(a & 31))
				break;
			id->cache_kb = MAX(id->cache_kb, (unsigned)(size >> 10));
		}
	}
	id->phys_bits = 36;
	id->virt_bits = 48;
	if (__get_cpuid(0x80000008, &a, &b, &c, &d)) {
		id->phys_bits = a & 0xff;
		id->virt_bits = (a >> 8) & 0xff;
	}
}

/* The nominal frequency in MHz: leaf 0x16, or the one in the model's name ("@ 2.80GHz"). */
static double frequency_mhz(const struct cpu_id *id)
{
	uint32_t a, b, c, d;
	const char *at = strrchr(id->model_name, '@');
	double ghz;

	if (__get_cpuid(0x16, &a, &b, &c, &d) && (a & 0xffff))
		return a & 0xffff;
	ghz = at ? strtod(at + 1, NULL) : 0;
	return ghz > 0 ? ghz * 1000 : 2000;
}

int proc_show_cpuinfo(struct text *out, struct inode *inode)
{
	struct cpu_id id;
	const char *name;
	double mhz;

	identify(&id);
	mhz = frequency_mhz(&id);
	name = id.model_name + strspn(id.model_name, " ");
	for (int cpu = 0; cpu < machine.num_cpus; cpu++) {
		text_printf(out,
			    "processor\t: %d\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n"
			    "model name\t: %s\nstepping\t: %u\ncpu MHz\t\t: %.3f\n"
			    "cache size\t: %u KB\nphysical id\t: 0\nsiblings\t: %d\n"
			    "core id\t\t: %d\ncpu cores\t: %d\napicid\t\t: %d\n"
			    "initial apicid\t: %d\nfpu\t\t: yes\nfpu_exception\t: yes\n"
			    "cpuid level\t: %u\nwp\t\t: yes\n",
			    cpu, id.vendor, id.family, id.model, *name ? name : "unknown",
			    id.stepping, mhz, id.cache_kb, machine.num_cpus, cpu, machine.num_cpus,
			    cpu, cpu, id.cpuid_level);
		show_flags(out);
		text_printf(out,
			    "bugs\t\t:\nbogomips\t: %.2f\nclflush size\t: %u\n"
			    "cache_alignment\t: %u\naddress sizes\t: %u bits physical, %u bits "
			    "virtual\n"
			    "power management:\n\n",
			    mhz * 2, id.clflush, id.clflush, id.phys_bits, id.virt_bits);
	}
	return 0;
}
