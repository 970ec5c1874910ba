/* Reading conf.d: what it means, and that every mistake is found where it stands. */
#include <check.h>
#include <float.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_folder.h"
#include "core/isolate/spec.h"
#include "run_suite.h"

static struct conf_folder folder;

static void setup(void)
{
    conf_folder_make(&folder);
    conf_folder_fill(&folder);
}

static void teardown(void)
{
    conf_folder_remove(&folder);
}

static struct conf *read_good(void)
{
    struct conf *conf = conf_folder_read(&folder);
    ck_assert_msg(conf != NULL, "refused: %s", folder.complaints);
    return conf;
}

/* The mistakes, all of them and no other. */
static void expect(const char *complaints)
{
    struct conf *conf = conf_folder_read(&folder);
    ck_assert_str_eq(folder.complaints, complaints);
    ck_assert_ptr_null(conf);
}

START_TEST(reads_what_is_written_and_fills_in_defaults)
{
    struct conf *conf = read_good();
    char path[128];
    snprintf(path, sizeof path, "%s/var", conf->dir);
    ck_assert_str_eq(conf->core.data_dir, path);
    ck_assert_uint_eq(conf->core.workers, 2);
    ck_assert_uint_eq(conf->core.deadline_ms, 60000);
    ck_assert_uint_eq(conf->core.repeat_s, 600);
    ck_assert_uint_eq(conf->core.max_frame, 8u << 20);
    ck_assert_int_eq(conf->core.log_level, WHORL_LOG_INFO);
    ck_assert_uint_eq(conf->force_count, 2);
    const struct conf_force *force = conf_find_force(conf, "WMP");
    ck_assert_ptr_nonnull(force);
    ck_assert_str_eq(force->policy->name, "normal");
    ck_assert_str_eq(force->title, "WMP");
    ck_assert(conf_list_has(force->backends, "finder"));
    const struct conf_rule *rule = &force->policy->rules[0];
    ck_assert_str_eq(rule->basis, "consent");
    ck_assert_int_eq(rule->place.line, 2);
    ck_assert_ptr_null(rule->subject[0]);
    ck_assert_str_eq(rule->consent[0], "given");
    ck_assert_str_eq(rule->require[0], "reason");
    ck_assert_str_eq(rule->show, "Say why");
    const struct conf_plugin *plugin = conf_find_plugin(conf, "finder");
    ck_assert_uint_eq(plugin->deadline_ms, 20000);
    ck_assert_uint_eq(plugin->max_calls, 64);
    ck_assert_int_eq((int)plugin->descriptor->role, WHORL_ROLE_SEARCH);
    ck_assert_ptr_null(conf_find_plugin(conf, "nobody"));
    ck_assert_ptr_null(conf_find_force(conf, "nobody"));
    conf_unref(conf);
}
END_TEST

START_TEST(settings_are_typed_and_overridden_per_force)
{
    conf_folder_write(&folder, "finder.conf",
                      "plugin \"third\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    settings {\n"
                      "        word = 'a \"word\"'  # a comment\n"
                      "        rate = 0.25\n"
                      "        flag = off\n"
                      "        items = {one, \"two\",\n"
                      "                 three}\n"
                      "        folder = \"../x\"\n"
                      "        force \"WMP\" { count = 9 }\n"
                      "    }\n"
                      "}\n");
    struct conf *conf = read_good();
    const struct whorl_settings *s = conf_find_plugin(conf, "third")->settings;
    ck_assert_str_eq(s->string(s, NULL, "word"), "a \"word\"");
    ck_assert_int_eq(s->integer(s, NULL, "count"), 7);
    ck_assert_int_eq(s->integer(s, "WMP", "count"), 9);
    ck_assert_int_eq(s->integer(s, "MPS", "count"), 7);
    ck_assert_double_eq(s->real(s, "WMP", "rate"), 0.25);
    ck_assert(!s->boolean(s, NULL, "flag"));
    ck_assert_str_eq(s->item(s, NULL, "items", 2), "three");
    ck_assert_ptr_null(s->item(s, NULL, "items", 3));
    ck_assert_str_eq(s->string(s, NULL, "folder"), "/tmp/x");
    ck_assert_ptr_null(s->string(s, NULL, "nothing"));
    ck_assert_int_eq(s->integer(s, NULL, "word"), 0);
    s = conf_find_plugin(conf, "finder")->settings;
    ck_assert_str_eq(s->string(s, NULL, "word"), "hello");
    ck_assert_str_eq(s->string(s, "MPS", "word"), "goodbye");
    ck_assert_str_eq(s->item(s, NULL, "items", 1), "b");
    conf_unref(conf);
}
END_TEST

START_TEST(a_disabled_plugin_is_known_but_its_module_is_not_even_looked_for)
{
    conf_folder_write(&folder, "off.conf",
                      "plugin \"off\" {\n    enabled = no\n    module = \"missing.so\"\n"
                      "    settings { whatever = 5 }\n}\n");
    struct conf *conf = read_good();
    const struct conf_plugin *plugin = conf_find_plugin(conf, "off");
    ck_assert_ptr_nonnull(plugin);
    ck_assert(!plugin->enabled);
    ck_assert_ptr_null(plugin->descriptor);
    conf_unref(conf);
}
END_TEST

START_TEST(other_files_are_ignored)
{
    conf_folder_write(&folder, "notes.txt", "nonsense {");
    conf_folder_write(&folder, ".hidden.conf", "nonsense {");
    conf_folder_write(&folder, "core.conf~", "nonsense {");
    conf_unref(read_good());
}
END_TEST

START_TEST(passing_calls_on_needs_a_gateway_s_name)
{
    conf_folder_write(&folder, "zz.conf",
                      "plugin \"told\" { module = \"" TEST_PLUGINS "/test-told-search.so\"\n"
                      " settings { source = upstream } }\n");
    expect("zz.conf:1: plugin told passes its calls on to another gateway, which needs this "
           "server's name: core { gateway = … }\n");
    conf_folder_write(&folder, "core.conf", "core { data_dir = \"data\" gateway = \"wm p\" }\n");
    expect("core.conf:1: gateway must be letters, digits and . _ -, beginning with a letter or "
           "digit, not \"wm p\"\n");
    conf_folder_write(&folder, "core.conf", "core { data_dir = \"data\" gateway = wmp }\n");
    struct conf *conf = read_good();
    ck_assert(conf_find_plugin(conf, "told")->passes_on);
    ck_assert(!conf_find_plugin(conf, "finder")->passes_on);
    ck_assert_str_eq(conf->core.gateway, "wmp");
    conf_unref(conf);
}
END_TEST

START_TEST(every_mistake_of_a_file_is_reported_with_its_line)
{
    conf_folder_write(&folder, "core.conf",
                      "/* a comment\n"
                      "   of two lines */\n"
                      "core {\n"
                      "    workers = many\n"
                      "    wrokers = 4\n"
                      "    deadline = 0.5\n"
                      "    log_level = loud\n"
                      "    repeat = {1, 2}\n"
                      "    max_frame = 99999999999999999999\n"
                      "    extra { a = 1 }\n"
                      "}\n"
                      "stray = 1\n"
                      "weird \"x\" { }\n");
    expect("core.conf:3: core lacks data_dir: where everything is kept, a folder per plugin\n"
           "core.conf:4: workers must be a whole number from 0 to 1024, not \"many\"\n"
           "core.conf:5: core has no option \"wrokers\"\n"
           "core.conf:6: deadline must be a number from 1 to 600, not \"0.5\"\n"
           "core.conf:7: log_level must be debug, info, warning or error, not \"loud\"\n"
           "core.conf:8: repeat must be a whole number from 0 to 86400, not a list\n"
           "core.conf:9: max_frame must be a whole number from 4096 to 67108864, not "
           "\"99999999999999999999\"\n"
           "core.conf:10: core can't hold a section \"extra\"\n"
           "core.conf:12: the option \"stray\" stands outside of every section\n"
           "core.conf:13: there is no section of kind \"weird\"\n");
}
END_TEST

START_TEST(syntax_errors_do_not_hide_what_comes_after)
{
    conf_folder_write(&folder, "a.conf",
                      "listener \"x\" {\n"
                      "    address 127.0.0.1\n"
                      "    port = 5\n"
                      "    tls no\n"
                      "    colour = red\n"
                      "}\n");
    conf_folder_write(&folder, "b.conf", "force \"ABC\" {\n    policy = \"normal\"\n");
    conf_folder_write(&folder, "c.conf", "force \"ABD\" {\n    policy = \"normal\n}\n");
    expect("a.conf:2: address is followed by neither = nor {\n"
           "a.conf:4: tls is followed by neither = nor {\n"
           "a.conf:5: listener x has no option \"colour\"\n"
           "b.conf:1: the section force is not closed: its } is missing\n"
           "c.conf:4: the file ends in the middle of a statement or a string\n");
}
END_TEST

/* `before`, so many options of different names, and `after`. */
static void write_names(const char *before, int count, const char *format, const char *after)
{
    char path[128];
    snprintf(path, sizeof path, "%s/zz.conf", folder.dir);
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    fputs(before, out);
    for (int i = 0; i < count; i++) {
        fprintf(out, format, i);
    }
    fputs(after, out);
    ck_assert_int_eq(fclose(out), 0);
}

#define SPLIT                                                                                      \
    "the file is read up to here: with more than about 400 different names and mistakes it must "  \
    "be split\n"

START_TEST(a_file_with_too_many_names_is_refused)
{
    static const char name[] = "a_setting_whose_name_is_long_number_%d = 1\n";
    write_names("", 450, name, "");
    ck_assert_ptr_null(conf_folder_read(&folder));
    ck_assert_ptr_nonnull(strstr(folder.complaints, "zz.conf:400: " SPLIT));
    ck_assert_ptr_nonnull(strstr(folder.complaints, "zz.conf:1: the option "
                                                    "\"a_setting_whose_name_is_long_number_0\" "
                                                    "stands outside of every section\n"));
}
END_TEST

START_TEST(a_file_of_as_many_names_as_can_be_learned_is_read_to_its_end)
{
    static const char before[] = "plugin \"off\" {\nenabled = no\nmodule = x.so\nsettings {\n";
    static const char after[] = "}\n}\npolicy \"late\" { }\n";
    write_names(before, 397, "n%d = 1\n", after); /* enabled and module are names too */
    struct conf *conf = read_good();
    ck_assert_uint_eq(conf->policy_count, 2);
    conf_unref(conf);
    write_names(before, 398, "n%d = 1\n", after);
    expect("zz.conf:402: " SPLIT);
    write_names(before, 450, "n%d = 1\n", after);
    expect("zz.conf:402: " SPLIT);
}
END_TEST

START_TEST(a_mistake_that_reading_goes_on_after_counts_like_a_name)
{
    static const char before[] = "plugin \"off\" {\nenabled = no\nmodule = x.so\nsettings {\n";
    static const char after[] = "= nonsense\n}\n}\nstray = 1\n";
    write_names(before, 395, "n%d = 1\n", after);
    expect("zz.conf:400: unexpected token '='\n"
           "zz.conf:403: the option \"stray\" stands outside of every section\n");
    write_names(before, 396, "n%d = 1\n", after);
    expect("zz.conf:401: unexpected token '='\n"
           "zz.conf:404: " SPLIT);
    write_names(before, 397, "n%d = 1\n", after);
    expect("zz.conf:402: " SPLIT);
}
END_TEST

START_TEST(no_half_of_a_string_is_passed_over)
{
    conf_folder_write(&folder, "zz.conf", "= \"\nr = x\" \\1 \"= \n");
    expect("zz.conf:1: unexpected token '='\n");
    conf_folder_write(&folder, "zz.conf", "title = \"two\nlines\" = \"x\"\nstray = 1\n");
    expect("zz.conf:2: the option \"title\" stands outside of every section\n"
           "zz.conf:2: the value of title holds a line break or another control character, or is "
           "not UTF-8\n"
           "zz.conf:2: unexpected token '='\n");
}
END_TEST

START_TEST(an_empty_name_is_not_taken_for_a_lack_of_memory)
{
    conf_folder_write(&folder, "zz.conf", "\n\"\" = 5\nstray = 1\nforce \"A\" {\n\n'' { }\n}\n");
    expect("zz.conf:2: what begins here can't be read: a name is empty, or memory is short\n"
           "zz.conf:3: the option \"stray\" stands outside of every section\n"
           "zz.conf:4: what begins here can't be read: a name is empty, or memory is short\n");
}
END_TEST

START_TEST(bytes_that_no_text_should_hold_are_refused)
{
    conf_folder_write(&folder, "a.conf",
                      "# fine: \xc3\xa9\n"
                      "force \"ABC\" {\n"
                      "    title = \"a\x01z\"\n"
                      "    policy = \"norm\xffl\"\n"
                      "    backends = {\"${HOME}\"}\n"
                      "}\n");
    struct conf *conf = conf_folder_read(&folder);
    ck_assert_ptr_null(conf);
    ck_assert_ptr_nonnull(strstr(folder.complaints, "a.conf:3: byte 0x01 is a control character"));
    ck_assert_ptr_nonnull(strstr(folder.complaints, "a.conf:4: byte 0xff is not UTF-8"));
    ck_assert_ptr_nonnull(
        strstr(folder.complaints, "a.conf:5: ${...} is not replaced here: write the value itself"));
    conf_folder_write(&folder, "a.conf", "force \"ABC\" {\n    title = \"two\nlines\"\n}\n");
    expect("a.conf:1: force ABC lacks policy: the policy that its officers are under\n"
           "a.conf:3: the value of title holds a line break or another control character, or is "
           "not UTF-8\n");
}
END_TEST

#define BY_NUMBER ": a character can't be given by its number: write it itself\n"

START_TEST(no_escape_gives_a_character_by_its_number)
{
    conf_folder_write(&folder, "core.conf",
                      "core {\n"
                      "    data_dir = \"\\x66\"\n"
                      "    \"\\x01\" = {x, y, z}\n"
                      "    log_level = \"a \\\n"
                      "\\2\"\n"
                      "    workers = '\\2'\n"
                      "}\n");
    expect("core.conf:2: \\x" BY_NUMBER "core.conf:3: \\x" BY_NUMBER
           "core.conf:3: core has no option \"?x01\"\n"
           "core.conf:5: \\2" BY_NUMBER
           "core.conf:5: log_level must be debug, info, warning or error, not \"a ?2\"\n"
           "core.conf:6: workers must be a whole number from 0 to 1024, not \"\\2\"\n");
}
END_TEST

START_TEST(a_bar_leads_into_no_other_section)
{
    conf_folder_write(&folder, "zz.conf",
                      "force \"ABC\" { policy = \"normal\" title = a|b backends += {\"x|y\"} }\n"
                      "plugin \"p|q\" { enabled = no module = x.so settings { inner { } } }\n"
                      "core|workers = 5\n"
                      "core|extra { force \"X\" { a = 1 } }\n"
                      "plugin|settings { force \"X\" { } }\n"
                      "\"settings\\|inner\" \"a|b\" { }\n");
    expect("zz.conf:1: backends: there is no plugin \"x|y\"\n"
           "zz.conf:2: plugin \"p|q\": a name is 1 to 32 small letters, digits and hyphens, and "
           "begins with a letter\n"
           "zz.conf:3: the option \"core|workers\" stands outside of every section\n"
           "zz.conf:4: there is no section of kind \"core|extra\"\n"
           "zz.conf:5: there is no section of kind \"plugin|settings\"\n"
           "zz.conf:6: there is no section of kind \"settings|inner\"\n");
    conf_folder_write(&folder, "zz.conf",
                      "force \"ABC\" {\n    core|lost x\n    policy = \"normal\"\n}\n");
    expect("zz.conf:2: core|lost is followed by neither = nor {\n");
    conf_folder_write(&folder, "zz.conf", "force \"ABC\" { policy = \"normal\" title = a|b }\n");
    struct conf *conf = read_good();
    ck_assert_str_eq(conf_find_force(conf, "ABC")->title, "a|b");
    conf_unref(conf);
}
END_TEST

START_TEST(what_is_there_twice_names_the_first)
{
    conf_folder_write(&folder, "z.conf",
                      "core { data_dir = \"x\" }\n"
                      "force \"WMP\" { policy = \"normal\" policy = \"normal\" }\n"
                      "policy \"normal\" { }\n"
                      "plugin \"keeper\" { enabled = no module = \"x.so\" }\n");
    char expected[1024];
    snprintf(expected, sizeof expected,
             "z.conf:1: core { } is there twice, first in %1$s/core.conf:1\n"
             "z.conf:2: force \"WMP\" is there twice, first in %1$s/force.conf:1\n"
             "z.conf:2: policy is given twice, first in line 2\n"
             "z.conf:3: policy \"normal\" is there twice, first in %1$s/policy.conf:1\n"
             "z.conf:4: plugin \"keeper\" is there twice, first in %1$s/plugins.conf:10\n",
             folder.dir);
    expect(expected);
}
END_TEST

START_TEST(an_empty_list_is_given_like_any_other)
{
    conf_folder_write(&folder, "force.conf",
                      "empty = {}\n"
                      "force \"WMP\" {\n"
                      "    policy = \"normal\"\n"
                      "    backends = {}\n"
                      "    backends = {\"finder\"}\n"
                      "    lends_to = {\"MPS\"}\n"
                      "    lends_to = { # nobody\n"
                      "    }\n"
                      "    title =\n"
                      "        {}\n"
                      "    nothing={}\n"
                      "}\n"
                      "force \"MPS\" {\n"
                      "    policy = \"normal\"\n"
                      "    backends = { /* none */ } backends = {}\n"
                      "    title = \"= {}\"\n"
                      "}\n");
    expect("force.conf:1: the option \"empty\" stands outside of every section\n"
           "force.conf:5: backends is given twice, first in line 4\n"
           "force.conf:7: lends_to is given twice, first in line 6\n"
           "force.conf:10: title must be a text of 0 to 100 bytes, not a list\n"
           "force.conf:11: force WMP has no option \"nothing\"\n"
           "force.conf:15: backends is given twice, first in line 15\n");
    conf_folder_write(
        &folder, "force.conf",
        "force \"WMP\" { policy = \"normal\" backends={}lends_to = {} lends_to += "
        "{\"MPS\"} }\n"
        "force \"MPS\" { policy = \"normal\" title = \"= {}\" backends = {\"finder\"} "
        "backends += {} }\n");
    struct conf *conf = read_good();
    ck_assert_ptr_null(conf_find_force(conf, "WMP")->backends[0]);
    ck_assert_str_eq(conf_find_force(conf, "WMP")->lends_to[0], "MPS");
    ck_assert_str_eq(conf_find_force(conf, "MPS")->title, "= {}");
    ck_assert_str_eq(conf_find_force(conf, "MPS")->backends[0], "finder");
    conf_unref(conf);
}
END_TEST

START_TEST(names_that_lead_nowhere_are_reported)
{
    conf_folder_write(&folder, "force.conf",
                      "force \"WMP\" {\n"
                      "    policy = \"usual\"\n"
                      "    backends = {\"finder\", \"seeker\", \"finder\", \"keeper\"}\n"
                      "    lends_to = {\"MPS\", \"GMP\", \"WMP\"}\n"
                      "}\n"
                      "force \"mps\" { policy = \"normal\" }\n");
    expect("force.conf:2: policy: there is no policy \"usual\"\n"
           "force.conf:3: backends holds \"finder\" twice\n"
           "force.conf:3: backends: keeper keeps records and can't be asked\n"
           "force.conf:3: backends: there is no plugin \"seeker\"\n"
           "force.conf:4: force WMP can't lend to itself\n"
           "force.conf:4: lends_to: there is no force \"GMP\"\n"
           "force.conf:4: lends_to: there is no force \"MPS\"\n"
           "force.conf:6: force \"mps\": a code is 1 to 32 capital letters, digits and hyphens\n"
           "plugins.conf:5: there is no force \"MPS\"\n");
}
END_TEST

START_TEST(rules_are_checked_against_the_protocol_and_one_another)
{
    conf_folder_write(
        &folder, "policy.conf",
        "policy \"normal\" {\n"
        "    rule \"a\" { basis = \"pace\" subject = {\"adult\", \"child\"} }\n"
        "    rule \"b\" { basis = \"pace\" subject = {\"child\"} }\n"
        "    rule \"c\" { basis = \"pace\" consent = {\"given\"} }\n"
        "    rule \"d\" { basis = \"pace\" }\n"
        "    rule \"e\" { basis = \"pace\" subject = {\"deceased\"} }\n"
        "    rule \"f\" { basis = \"Consent!\" subject = {\"dog\"} }\n"
        "    rule \"g\" { basis = \"x\" require = {\"shoe\", \"reason\"} }\n"
        "    rule \"h\" { basis = \"y\" backends = {\"keeper\"} }\n"
        "    rule \"i\" { basis = \"y\" subject = {\"deceased\"} consent = {\"given\"} }\n"
        "    rule \"j\" { subject = {\"adult\", \"adult\"} }\n"
        "    rule \"Bad Name\" { basis = \"z\" }\n"
        "}\n");
    expect("policy.conf:3: rule b is never reached: rule a (line 2) decides all its cases first\n"
           "policy.conf:6: rule e is never reached: rule d (line 5) decides all its cases first\n"
           "policy.conf:7: basis must be of small letters, digits and hyphens, not \"Consent!\"\n"
           "policy.conf:7: subject can't hold \"dog\"\n"
           "policy.conf:8: require can't hold \"shoe\"\n"
           "policy.conf:9: backends: keeper keeps records and can't be asked\n"
           "policy.conf:10: rule i contradicts itself: an unconscious or deceased subject can "
           "neither give nor refuse consent\n"
           "policy.conf:11: rule j lacks basis: the legal basis that the rule is for\n"
           "policy.conf:11: subject holds \"adult\" twice\n"
           "policy.conf:12: rule \"Bad Name\": a name is 1 to 32 small letters, digits and "
           "hyphens, and begins with a letter\n");
}
END_TEST

START_TEST(a_rule_is_unreachable_when_several_share_its_cases)
{
    conf_folder_write(
        &folder, "policy.conf",
        "policy \"normal\" {\n"
        "    rule \"a\" { basis = \"pace\" subject = {\"adult\", \"child\"} }\n"
        "    rule \"b\" { basis = \"pace\" subject = {\"unconscious\", \"deceased\"} }\n"
        "    rule \"c\" { basis = \"other\" }\n"
        "    rule \"d\" { basis = \"pace\" consent = {\"given\"} }\n"
        "}\n");
    expect("policy.conf:5: rule d is never reached: the rules before it, up to b (line 3), decide "
           "all its cases\n");
}
END_TEST

START_TEST(settings_are_held_against_the_plugins_schema)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    deadline = 0\n"
                      "    settings {\n"
                      "        count = 101\n"
                      "        rate = half\n"
                      "        flag = perhaps\n"
                      "        items = {}\n"
                      "        size = 1\n"
                      "        force \"MPS\" {\n"
                      "            rate = 0.1\n"
                      "            count = -1\n"
                      "            shape = round\n"
                      "        }\n"
                      "        force \"XYZ\" { }\n"
                      "    }\n"
                      "}\n"
                      "plugin \"keeper\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings {\n"
                      "        word = \"more than twenty bytes\"\n"
                      "    }\n"
                      "}\n");
    expect("plugins.conf:3: deadline must be a number from 0.1 to 600, not \"0\"\n"
           "plugins.conf:4: settings of plugin finder lacks word: a word\n"
           "plugins.conf:5: count must be a whole number from 1 to 100, not \"101\"\n"
           "plugins.conf:6: rate must be a number from 0 to 1, not \"half\"\n"
           "plugins.conf:7: flag must be yes or no, not \"perhaps\"\n"
           "plugins.conf:9: settings of plugin finder has no option \"size\"\n"
           "plugins.conf:11: rate is the same for all forces and can't stand in force MPS of "
           "settings\n"
           "plugins.conf:12: count must be a whole number from 1 to 100, not \"-1\"\n"
           "plugins.conf:13: force MPS of settings has no option \"shape\"\n"
           "plugins.conf:15: there is no force \"XYZ\"\n"
           "plugins.conf:21: word must be a text of 1 to 20 bytes, not \"more than twenty "
           "bytes\"\n");
}
END_TEST

START_TEST(what_a_plugins_check_says_stands_at_the_setting)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    settings {\n"
                      "        word = \"fine\"\n"
                      "        force \"MPS\" {\n"
                      "            word = \"forbidden\"\n"
                      "        }\n"
                      "    }\n"
                      "}\n"
                      "plugin \"keeper\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings {\n"
                      "        rate = 1\n"
                      "        word = \"forbidden\"\n"
                      "    }\n"
                      "}\n");
    expect("plugins.conf:6: plugin finder for force MPS: word: must not be forbidden\n"
           "plugins.conf:14: plugin keeper: word: must not be forbidden\n");
}
END_TEST

START_TEST(modules_that_cannot_be_used_are_reported_where_they_are_named)
{
    conf_folder_write(&folder, "more.conf",
                      "plugin \"gone\" {\n"
                      "    module = \"./gone.so\"\n"
                      "}\n"
                      "plugin \"text\" {\n"
                      "\n"
                      "    module = \"./core.conf\"\n"
                      "}\n"
                      "plugin \"future\" { module = \"" TEST_PLUGINS "/test-broken-3.so\" }\n");
    ck_assert_ptr_null(conf_folder_read(&folder));
    const char *says = folder.complaints;
    ck_assert_ptr_nonnull(strstr(says, "more.conf:2: plugin gone: /tmp/whorl-conf-"));
    ck_assert_ptr_nonnull(strstr(says, "/gone.so: can't be found: No such file or directory"));
    ck_assert_ptr_nonnull(strstr(says, "more.conf:6: plugin text: /tmp/whorl-conf-"));
    ck_assert_ptr_nonnull(strstr(says, "/core.conf: can't be loaded: "));
    ck_assert_ptr_nonnull(strstr(says, "more.conf:8: plugin future: "));
    ck_assert_ptr_nonnull(strstr(says, "test-broken-3.so: abi_major must be 1, found 2"));
}
END_TEST

START_TEST(a_module_from_elsewhere_gets_a_process_unless_its_file_says_otherwise)
{
    conf_folder_write(&folder, "more.conf",
                      "plugin \"trusted\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    isolation = in_process\n"
                      "    settings { word = \"x\" }\n"
                      "}\n"
                      "plugin \"limited\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    isolation = process\n"
                      "    network = yes\n"
                      "    memory_limit = 32\n"
                      "    cpu_limit = 2\n"
                      "    user = \"nobody\"\n"
                      "    settings { word = \"x\" }\n"
                      "}\n");
    struct conf *conf = read_good();
    const struct isolate_spec *spec = conf_find_plugin(conf, "finder")->process;
    ck_assert_ptr_nonnull(spec);
    ck_assert(!spec->limits.network);
    ck_assert_uint_eq(spec->limits.memory, (uint64_t)1 << 30);
    ck_assert_uint_eq(spec->limits.processors, 0);
    ck_assert_int_eq(spec->limits.uid != 0, geteuid() == 0);
    ck_assert_ptr_null(conf_find_plugin(conf, "trusted")->process);
    spec = conf_find_plugin(conf, "limited")->process;
    ck_assert(spec->limits.network);
    ck_assert_uint_eq(spec->limits.memory, 32u << 20);
    ck_assert_uint_eq(spec->limits.processors, 2);
    /* What its process says of it is what it says here. */
    const struct whorl_plugin *here = conf_find_plugin(conf, "trusted")->descriptor;
    const struct whorl_plugin *there = conf_find_plugin(conf, "limited")->descriptor;
    ck_assert_str_eq(there->title, here->title);
    ck_assert_str_eq(there->formats[0], here->formats[0]);
    ck_assert_uint_eq(there->setting_count, here->setting_count);
    ck_assert_str_eq(there->settings[4].fallback, here->settings[4].fallback);
    ck_assert_double_eq(there->settings[1].max, here->settings[1].max);
    ck_assert_ptr_null(there->start);
    conf_unref(conf);
    /* And one for a newer host is taken here and there alike. */
    conf_folder_write(&folder, "more.conf",
                      "plugin \"trusted\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-newer.so\"\n"
                      "    isolation = in_process\n"
                      "    settings { word = \"x\" }\n"
                      "}\n"
                      "plugin \"limited\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-newer.so\"\n"
                      "    isolation = process\n"
                      "    settings { word = \"x\" }\n"
                      "}\n");
    conf = read_good();
    here = conf_find_plugin(conf, "trusted")->descriptor;
    there = conf_find_plugin(conf, "limited")->descriptor;
    ck_assert_uint_eq(there->abi_minor, here->abi_minor);
    ck_assert_uint_eq(there->flags, here->flags);
    ck_assert_uint_eq(there->settings[2].flags, here->settings[2].flags);
    ck_assert_double_eq(there->settings[2].max, DBL_MAX);
    conf_unref(conf);
}
END_TEST

START_TEST(options_of_a_process_must_make_sense)
{
    conf_folder_write(&folder, "more.conf",
                      "plugin \"a\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    isolation = in_process\n"
                      "    network = yes\n"
                      "    memory_limit = 64\n"
                      "    settings { word = \"x\" }\n"
                      "}\n"
                      "plugin \"b\" { enabled = no module = \"x.so\" isolation = perhaps }\n"
                      "plugin \"c\" { enabled = no module = \"x.so\" user = \"root\" }\n"
                      "plugin \"d\" { enabled = no module = \"x.so\" user = \"no one\" }\n"
                      "plugin \"e\" { enabled = no module = \"x.so\" memory_limit = 1 }\n");
    expect("more.conf:4: plugin a: network has no meaning without isolation = process\n"
           "more.conf:5: plugin a: memory_limit has no meaning without isolation = process\n"
           "more.conf:8: isolation must be process or in_process, not \"perhaps\"\n"
           "more.conf:9: user must not be root, \"root\"\n"
           "more.conf:10: there is no user \"no one\"\n"
           "more.conf:11: memory_limit must be a whole number from 32 to 1048576, not \"1\"\n");
}
END_TEST

START_TEST(the_servers_own_folders_are_no_plugins)
{
    conf_folder_write(&folder, "more.conf",
                      "plugin \"registry\" { enabled = no module = \"x.so\" }\n"
                      "plugin \"requests\" { enabled = no module = \"x.so\" }\n"
                      "plugin \"registry-2\" { enabled = no module = \"x.so\" }\n"
                      "plugin \"run\" { enabled = no module = \"x.so\" }\n");
    static const char own[] =
        "more.conf:1: plugin \"registry\": the server itself keeps a folder of that name in "
        "data_dir\n"
        "more.conf:2: plugin \"requests\": the server itself keeps a folder of that name in "
        "data_dir\n"
        "more.conf:4: plugin \"run\": the server itself keeps a folder of that name in data_dir\n";
    expect(own);
    conf_folder_write(&folder, "core.conf",
                      "core { data_dir = \"var\" runtime_dir = \"/run/whorl\" }\n");
    expect(own);
}
END_TEST

START_TEST(a_plugins_folder_and_the_runtime_directory_are_apart)
{
    static const struct {
        const char *data_dir, *runtime_dir;
        bool good;
    } cases[] = {
        {"/d", "/d/mine", false}, {"/d/", "/d//x/../mine/.", false}, {"/d", "/d/mine/run", false},
        {"/d", "/d", false},      {"/d/../e", "/", false},           {"/d", "/d/mine-too", true},
        {"/d", "/d/min", true},   {"/d/x/..", "/mine", true},        {"/d", "/../d/run", true},
    };
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"mine\" { module = \"" TEST_PLUGINS
                      "/test-sink.so\" settings { word = \"kept\" } }\n");
    conf_folder_write(&folder, "force.conf", "#\n");
    conf_folder_write(&folder, "policy.conf", "#\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *data_dir = cases[i].data_dir, *runtime_dir = cases[i].runtime_dir;
        char expected[256] = "";
        conf_folder_write(&folder, "core.conf", "core { data_dir = \"%s\" runtime_dir = \"%s\" }\n",
                          data_dir, runtime_dir);
        if (!cases[i].good) {
            snprintf(expected, sizeof expected,
                     "plugins.conf:1: plugin \"mine\": its folder, %s/mine, and runtime_dir, %s, "
                     "must not be the same or in one another\n",
                     data_dir, runtime_dir);
        }
        struct conf *conf = conf_folder_read(&folder);
        ck_assert_str_eq(folder.complaints, expected);
        ck_assert_int_eq(conf != NULL, cases[i].good);
        conf_unref(conf);
    }
}
END_TEST

START_TEST(somebody_must_keep_the_audit_log)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    settings { word = \"x\" }\n"
                      "}\n"
                      "plugin \"keeper\" { enabled = no module = \"x.so\" }\n");
    expect(":0: no plugin that is enabled keeps the audit log (role sink)\n");
}
END_TEST

START_TEST(plain_tcp_is_for_loopback_and_tls_needs_its_files)
{
    conf_folder_write(
        &folder, "listeners.conf",
        "listener \"a\" { address = \"10.0.0.1\" port = 1 tls = off device = \"d\" }\n"
        "listener \"b\" { address = \"127.0.0.1\" port = 2 tls = off }\n"
        "listener \"c\" { address = \"localhost\" port = 70000 tls = off device = \"d\" }\n"
        "listener \"d\" { address = \"::\" port = 3 }\n"
        "listener \"e\" {\n"
        "    address = \"::1\"\n"
        "    port = 4\n"
        "    certificate = \"missing.pem\"\n"
        "    key = \"core.conf\"\n"
        "    client_ca = \"core.conf\"\n"
        "}\n"
        "listener \"f\" { address = \"127.0.0.1\" port = 2 tls = off device = \"d\" }\n");
    char expected[2048];
    snprintf(
        expected, sizeof expected,
        "listeners.conf:1: tls = off is for loopback addresses only, and 10.0.0.1 is none\n"
        "listeners.conf:2: listener b has tls = off and so needs device: the device that plain "
        "connections count as\n"
        "listeners.conf:3: address must be a numeric IPv4 or IPv6 address, not \"localhost\"\n"
        "listeners.conf:3: port must be a whole number from 0 to 65535, not \"70000\"\n"
        "listeners.conf:4: listener d lacks certificate: the server's certificate chain (PEM)\n"
        "listeners.conf:4: listener d lacks client_ca: the authority that signs the devices' "
        "certificates (PEM)\n"
        "listeners.conf:4: listener d lacks key: the server's private key (PEM)\n"
        "listeners.conf:8: certificate: %1$s/missing.pem can't be opened: No such file or "
        "directory\n"
        "listeners.conf:9: key: %1$s/core.conf holds no unencrypted private key in PEM form\n"
        "listeners.conf:10: client_ca: %1$s/core.conf holds no certificate in PEM form\n"
        "listeners.conf:12: listener f has the address and port of listener b "
        "(%1$s/listeners.conf:2)\n",
        folder.dir);
    expect(expected);
}
END_TEST

/* Writes a new key and, where certificate is given, a certificate for it. */
static void write_key(const char *key_name, const char *certificate_name)
{
    char path[128];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    snprintf(path, sizeof path, "%s/%s", folder.dir, key_name);
    FILE *out = fopen(path, "w");
    ck_assert(key && certificate && out);
    ck_assert_int_eq(fchmod(fileno(out), 0600), 0);
    ck_assert_int_eq(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
    if (certificate_name) {
        snprintf(path, sizeof path, "%s/%s", folder.dir, certificate_name);
        out = fopen(path, "w");
        ck_assert_ptr_nonnull(out);
        ck_assert_int_eq(X509_set_pubkey(certificate, key), 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
        ck_assert_int_eq(PEM_write_X509(out, certificate), 1);
        fclose(out);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

START_TEST(a_key_must_be_private_and_of_its_certificate)
{
    char path[128], expected[512];
    write_key("a.key", "a.pem");
    write_key("b.key", NULL);
    conf_folder_write(&folder, "listeners.conf",
                      "listener \"a\" {\n"
                      "    address = \"127.0.0.1\"\n"
                      "    port = 0\n"
                      "    certificate = a.pem\n"
                      "    key = a.key\n"
                      "    client_ca = a.pem\n"
                      "}\n");
    conf_unref(read_good());
    snprintf(path, sizeof path, "%s/a.key", folder.dir);
    ck_assert_int_eq(chmod(path, 0644), 0);
    snprintf(expected, sizeof expected,
             "listeners.conf:5: key: %s can be used by others than its owner (mode 0644)\n", path);
    expect(expected);
    ck_assert_int_eq(chmod(path, 0600), 0);
    conf_folder_write(&folder, "listeners.conf",
                      "listener \"a\" {\n"
                      "    address = \"127.0.0.1\" port = 0 certificate = a.pem client_ca = a.pem\n"
                      "    key = b.key\n"
                      "    crl = a.pem\n"
                      "}\n");
    snprintf(expected, sizeof expected,
             "listeners.conf:3: key: %1$s/b.key does not belong to the certificate %1$s/a.pem\n"
             "listeners.conf:4: crl: %1$s/a.pem holds no revocation list in PEM form\n",
             folder.dir);
    expect(expected);
}
END_TEST

START_TEST(a_folder_that_cannot_be_read_is_one_mistake)
{
    struct conf_folder none = {.dir = "/tmp/whorl-no-such-folder"};
    ck_assert_ptr_null(conf_folder_read(&none));
    ck_assert_str_eq(none.complaints, ":0: No such file or directory\n");
}
END_TEST

START_TEST(an_empty_folder_lacks_core_and_a_sink)
{
    struct conf_folder empty;
    conf_folder_make(&empty);
    ck_assert_ptr_null(conf_folder_read(&empty));
    ck_assert_str_eq(empty.complaints,
                     ":0: no file has a section core { }\n"
                     ":0: no plugin that is enabled keeps the audit log (role sink)\n");
    conf_folder_remove(&empty);
}
END_TEST

/* The digests after a change to one file. */
static void digests_after(const char *name, const char *text, uint8_t all[32], uint8_t finder[32])
{
    conf_folder_fill(&folder);
    if (name) {
        conf_folder_write(&folder, name, "%s", text);
    }
    struct conf *conf = read_good();
    memcpy(all, conf->digest, 32);
    memcpy(finder, conf_find_plugin(conf, "finder")->digest, 32);
    conf_unref(conf);
}

START_TEST(digests_change_if_and_only_if_something_effective_does)
{
    uint8_t all[32], finder[32], all2[32], finder2[32];
    digests_after(NULL, NULL, all, finder);
    digests_after(NULL, NULL, all2, finder2);
    ck_assert_mem_eq(all, all2, 32);
    /* comments, spaces and a default written out change nothing */
    digests_after("core.conf", "# new\ncore { data_dir = var workers = 2 deadline = 60.0 }", all2,
                  finder2);
    ck_assert_mem_eq(all, all2, 32);
    ck_assert_mem_eq(finder, finder2, 32);
    /* a rate is more than its first six digits */
    digests_after("core.conf", "core { data_dir = var workers = 2 officer_rate = 33.33333 }", all2,
                  finder2);
    memcpy(all, all2, 32);
    digests_after("core.conf", "core { data_dir = var workers = 2 officer_rate = 33.33334 }", all2,
                  finder2);
    ck_assert_mem_ne(all, all2, 32);
    /* another deadline changes the whole, not the plugin */
    digests_after("core.conf", "core { data_dir = var workers = 2 deadline = 61 }", all2, finder2);
    ck_assert_mem_ne(all, all2, 32);
    ck_assert_mem_eq(finder, finder2, 32);
    /* another place for its data changes the plugin, too */
    digests_after("core.conf", "core { data_dir = var2 workers = 2 }", all2, finder2);
    ck_assert_mem_ne(all, all2, 32);
    ck_assert_mem_ne(finder, finder2, 32);
    /* so does one setting of one force */
    digests_after("plugins.conf",
                  "plugin finder { module = \"" TEST_PLUGINS "/test-acts.so\" settings { word = "
                  "hello force MPS { word = farewell } } }\n"
                  "plugin keeper { module = \"" TEST_PLUGINS
                  "/test-sink.so\" settings { word = kept } }\n",
                  all2, finder2);
    ck_assert_mem_ne(all, all2, 32);
    ck_assert_mem_ne(finder, finder2, 32);
}
END_TEST

START_TEST(the_effective_configuration_reads_as_the_same_configuration)
{
    struct conf *conf = read_good();
    char *text = NULL;
    size_t len = 0;
    uint8_t digest[32];
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    conf_print(conf, out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_ptr_nonnull(strstr(text, "Force WMP (WMP), policy normal"));
    ck_assert_ptr_nonnull(strstr(text, "    ask      finder (no: off for this force)"));
    ck_assert_ptr_nonnull(strstr(text, "    needs    reason"));
    ck_assert_ptr_nonnull(strstr(text, "    show     Say why"));
    memcpy(digest, conf->digest, sizeof digest);
    conf_unref(conf);
    *strstr(text, "\nWho may ask what") = '\0';
    conf_folder_write(&folder, "core.conf", "%s", text);
    conf_folder_write(&folder, "force.conf", "#\n");
    conf_folder_write(&folder, "policy.conf", "#\n");
    conf_folder_write(&folder, "plugins.conf", "#\n");
    conf = read_good();
    ck_assert_mem_eq(conf->digest, digest, sizeof digest);
    conf_unref(conf);
    free(text);
}
END_TEST

START_TEST(references_keep_a_configuration)
{
    struct conf *conf = read_good();
    ck_assert_ptr_eq(conf_ref(conf), conf);
    conf_unref(conf);
    ck_assert_str_eq(conf->forces[0].code, "WMP");
    conf_unref(conf);
    conf_unref(NULL);
}
END_TEST

START_TEST(the_monitor_is_off_by_default_and_never_leaves_loopback)
{
    struct conf *conf = read_good();
    ck_assert(!conf->monitor.on);
    conf_unref(conf);
    conf_folder_write(&folder, "monitor.conf", "monitor { port = 9464 }\n");
    conf = read_good();
    ck_assert(conf->monitor.on);
    ck_assert_str_eq(conf->monitor.address, "127.0.0.1");
    ck_assert_uint_eq(conf->monitor.port, 9464);
    conf_unref(conf);
    conf_folder_write(&folder, "monitor.conf",
                      "monitor {\n    address = \"0.0.0.0\"\n}\nmonitor { port = 1 }\n");
    char expected[512];
    snprintf(expected, sizeof expected,
             "monitor.conf:1: monitor lacks port: the TCP port; 0: one that the system chooses\n"
             "monitor.conf:2: address must be a loopback address, not \"0.0.0.0\": whoever may "
             "read it is not asked who they are\n"
             "monitor.conf:4: monitor { } is there twice, first in %s/monitor.conf:1\n",
             folder.dir);
    expect(expected);
}
END_TEST

START_TEST(the_runtime_directory_is_found_whatever_else_is_wrong)
{
    char path[512], expected[512];
    struct whorl_fault fault;
    conf_folder_write(&folder, "force.conf", "nonsense {{{\n");
    ck_assert(conf_runtime_dir(folder.dir, path, sizeof path, &fault));
    snprintf(expected, sizeof expected, "%s/var/run", folder.dir);
    ck_assert_str_eq(path, expected);
    conf_folder_write(
        &folder, "core.conf",
        "core {\n data_dir = \"var\"\n runtime_dir = \"/run/x\"\n max_calls = 0\n}\n");
    ck_assert(conf_runtime_dir(folder.dir, path, sizeof path, &fault));
    ck_assert_str_eq(path, "/run/x");
    ck_assert(!conf_runtime_dir(folder.dir, path, 3, &fault)); /* too long to be told */
    conf_folder_write(&folder, "core.conf", "core { workers = 2 }\n");
    ck_assert(!conf_runtime_dir(folder.dir, path, sizeof path, &fault));
    ck_assert_ptr_nonnull(strstr(fault.text, "data_dir"));
    ck_assert(!conf_runtime_dir("/tmp/whorl-no-such-folder", path, sizeof path, &fault));
}
END_TEST

static void gather(void *ctx, const char *text)
{
    strcat(ctx, text);
    strcat(ctx, "\n");
}

START_TEST(what_differs_between_two_configurations_is_said_in_words)
{
    char said[2048] = "";
    struct conf *before = read_good(), *same = read_good();
    conf_changes(before, same, gather, said);
    ck_assert_str_eq(said, "");
    conf_unref(same);
    conf_folder_write(&folder, "core.conf",
                      "core {\n    data_dir = \"var\"\n    workers = 3\n    repeat = 5\n}\n");
    conf_folder_write(&folder, "force.conf",
                      "force \"WMP\" {\n    policy = \"normal\"\n    backends = {\"finder\"}\n"
                      "    title = \"West\"\n}\n"
                      "force \"MPS\" {\n    policy = \"normal\"\n}\n"
                      "force \"BTP\" {\n    policy = \"normal\"\n}\n");
    conf_folder_write(&folder, "monitor.conf", "monitor { port = 0 }\n");
    struct conf *after = read_good();
    conf_changes(before, after, gather, said);
    ck_assert_str_eq(said, "core: workers = 3, was 2\n"
                           "core: repeat = 5, was 600\n"
                           "monitor: added\n"
                           "force WMP: title = \"West\", was \"WMP\"\n"
                           "force BTP: added\n");
    said[0] = '\0';
    conf_changes(after, before, gather, said);
    ck_assert_ptr_nonnull(strstr(said, "monitor: removed\n"));
    ck_assert_ptr_nonnull(strstr(said, "force BTP: removed\n"));
    conf_unref(before);
    conf_unref(after);
}
END_TEST

START_TEST(a_plugin_that_is_switched_off_has_no_other_module)
{
    static const char form[] = "plugin \"finder\" {\n"
                               "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                               "    enabled = %s\n"
                               "    settings { word = \"hello\" }\n"
                               "}\n"
                               "plugin \"keeper\" {\n"
                               "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                               "    settings { word = \"kept\" }\n"
                               "}\n";
    char text[sizeof form + 4], said[2048] = "";
    conf_folder_write(&folder, "force.conf",
                      "force \"WMP\" {\n    policy = \"normal\"\n}\n"
                      "force \"MPS\" {\n    policy = \"normal\"\n}\n");
    snprintf(text, sizeof text, form, "yes");
    conf_folder_write(&folder, "plugins.conf", text);
    struct conf *on = read_good();
    snprintf(text, sizeof text, form, "no");
    conf_folder_write(&folder, "plugins.conf", text);
    struct conf *off = read_good();
    conf_changes(on, off, gather, said);
    conf_changes(off, on, gather, said);
    ck_assert_ptr_nonnull(strstr(said, "plugin finder: enabled = no, was yes\n"));
    ck_assert_ptr_nonnull(strstr(said, "plugin finder: enabled = yes, was no\n"));
    ck_assert_ptr_null(strstr(said, "module"));
    conf_unref(on);
    conf_unref(off);
}
END_TEST

START_TEST(a_breakers_waits_must_fit_together)
{
    conf_folder_write(&folder, "plugins.conf",
                      "plugin \"finder\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-acts.so\"\n"
                      "    breaker_wait = 10\n"
                      "    breaker_max_wait = 9.5\n"
                      "    settings { word = \"hello\" }\n"
                      "}\n"
                      "plugin \"keeper\" {\n"
                      "    module = \"" TEST_PLUGINS "/test-sink.so\"\n"
                      "    settings { word = \"kept\" }\n"
                      "}\n");
    expect("plugins.conf:4: breaker_max_wait must not be below breaker_wait\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tests = tcase_create("conf");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, reads_what_is_written_and_fills_in_defaults);
    tcase_add_test(tests, settings_are_typed_and_overridden_per_force);
    tcase_add_test(tests, a_disabled_plugin_is_known_but_its_module_is_not_even_looked_for);
    tcase_add_test(tests, other_files_are_ignored);
    tcase_add_test(tests, passing_calls_on_needs_a_gateway_s_name);
    tcase_add_test(tests, every_mistake_of_a_file_is_reported_with_its_line);
    tcase_add_test(tests, syntax_errors_do_not_hide_what_comes_after);
    tcase_add_test(tests, a_file_with_too_many_names_is_refused);
    tcase_add_test(tests, a_file_of_as_many_names_as_can_be_learned_is_read_to_its_end);
    tcase_add_test(tests, a_mistake_that_reading_goes_on_after_counts_like_a_name);
    tcase_add_test(tests, no_half_of_a_string_is_passed_over);
    tcase_add_test(tests, an_empty_name_is_not_taken_for_a_lack_of_memory);
    tcase_add_test(tests, bytes_that_no_text_should_hold_are_refused);
    tcase_add_test(tests, no_escape_gives_a_character_by_its_number);
    tcase_add_test(tests, a_bar_leads_into_no_other_section);
    tcase_add_test(tests, what_is_there_twice_names_the_first);
    tcase_add_test(tests, an_empty_list_is_given_like_any_other);
    tcase_add_test(tests, names_that_lead_nowhere_are_reported);
    tcase_add_test(tests, rules_are_checked_against_the_protocol_and_one_another);
    tcase_add_test(tests, a_rule_is_unreachable_when_several_share_its_cases);
    tcase_add_test(tests, settings_are_held_against_the_plugins_schema);
    tcase_add_test(tests, what_a_plugins_check_says_stands_at_the_setting);
    tcase_add_test(tests, modules_that_cannot_be_used_are_reported_where_they_are_named);
    tcase_add_test(tests, a_module_from_elsewhere_gets_a_process_unless_its_file_says_otherwise);
    tcase_add_test(tests, options_of_a_process_must_make_sense);
    tcase_add_test(tests, the_servers_own_folders_are_no_plugins);
    tcase_add_test(tests, a_plugins_folder_and_the_runtime_directory_are_apart);
    tcase_add_test(tests, somebody_must_keep_the_audit_log);
    tcase_add_test(tests, plain_tcp_is_for_loopback_and_tls_needs_its_files);
    tcase_add_test(tests, a_key_must_be_private_and_of_its_certificate);
    tcase_add_test(tests, a_folder_that_cannot_be_read_is_one_mistake);
    tcase_add_test(tests, an_empty_folder_lacks_core_and_a_sink);
    tcase_add_test(tests, digests_change_if_and_only_if_something_effective_does);
    tcase_add_test(tests, the_effective_configuration_reads_as_the_same_configuration);
    tcase_add_test(tests, references_keep_a_configuration);
    tcase_add_test(tests, the_monitor_is_off_by_default_and_never_leaves_loopback);
    tcase_add_test(tests, the_runtime_directory_is_found_whatever_else_is_wrong);
    tcase_add_test(tests, what_differs_between_two_configurations_is_said_in_words);
    tcase_add_test(tests, a_plugin_that_is_switched_off_has_no_other_module);
    tcase_add_test(tests, a_breakers_waits_must_fit_together);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
