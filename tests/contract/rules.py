"""The one table of AWS's rules that the sandbox enforces: rule, source, and the test that fails when it does not.

Code that breaks one of them works on a lenient emulator and fails on AWS.
"""

from __future__ import annotations

from typing import NamedTuple

API = "EC2 API Reference"
ERRORS = "EC2 API Reference, Error codes"
SNAPSHOTS = "EBS User Guide, Create Amazon EBS snapshots"
SETS = "EBS User Guide, Create multi-volume snapshots"
DELETING = "EBS User Guide, Delete an Amazon EBS snapshot"
SPOT = "EC2 User Guide, Spot Instances"
IAM = "Service Authorization Reference, Amazon EC2"
IDEMPOTENCY = f"{API}, Ensuring idempotency"
CONSISTENCY = f"{API}, Eventual consistency"
SIGNING = "IAM User Guide, Signature Version 4"
OURS = "the sandbox's own promise, docs/security.md"
SEEN = "seen on AWS: the message stands in public issue threads"


class Rule(NamedTuple):
    """One rule; `test` is module::function in this directory."""

    rule: str
    source: str
    test: str


RULES = (
    # Snapshots
    Rule("A snapshot is pending, with progress, before it is completed", SNAPSHOTS,
         "test_snapshots::test_a_snapshot_is_pending_before_it_is_completed"),
    Rule("CreateVolume from a pending snapshot: IncorrectState", SEEN,
         "test_snapshots::test_create_volume_from_a_pending_snapshot_is_refused"),
    Rule("RunInstances from a pending snapshot: IncorrectState", SEEN,
         "test_snapshots::test_run_instances_from_a_pending_snapshot_is_refused"),
    Rule("The size of a snapshot is frozen", SNAPSHOTS, "test_snapshots::test_the_size_of_a_snapshot_is_frozen"),
    Rule("The point in time is fixed when CreateSnapshot returns", SNAPSHOTS,
         "test_snapshots::test_a_snapshot_holds_the_bytes_of_its_point_in_time"),
    Rule("A snapshot outlives its volume", DELETING, "test_snapshots::test_a_snapshot_outlives_its_volume"),
    Rule("Deleting a pending snapshot takes effect when it completes", DELETING,
         "test_snapshots::test_a_pending_snapshot_is_deleted_when_it_completes"),
    Rule("OwnerIds=self leaves out public snapshots", f"{API}, DescribeSnapshots",
         "test_snapshots::test_only_own_snapshots_belong_to_self"),
    Rule("A snapshot behind an image: InvalidSnapshot.InUse", ERRORS,
         "test_snapshots::test_the_snapshot_of_an_image_is_in_use"),
    Rule(
        "More than five pending snapshots of a volume: ConcurrentSnapshotLimitExceeded",
        ERRORS,
        "test_snapshots::test_a_volume_has_five_pending_snapshots_at_most",
    ),
    # Sets of snapshots
    Rule("CreateSnapshots: a pending snapshot of every volume of the instance", SETS,
         "test_snapshot_sets::test_every_volume_has_its_snapshot"),
    Rule("The root volume is excluded by its flag, data volumes by their ids alone", f"{API}, InstanceSpecification",
         "test_snapshot_sets::test_volumes_can_be_excluded"),
    Rule("Tags of the request on every snapshot, those of its volume with CopyTagsFromSource", SETS,
         "test_snapshot_sets::test_tags_are_given_and_copied"),
    Rule("A set is of one point in time", SETS, "test_snapshot_sets::test_a_set_is_of_one_point_in_time"),
    Rule("When one snapshot of a set fails all fail", SETS,
         "test_snapshot_sets::test_when_one_of_a_set_fails_all_fail"),
    Rule("A set is taken whole or not at all", SETS, "test_snapshot_sets::test_a_set_is_all_or_none"),
    Rule("Too many requests on a volume: SnapshotCreationPerVolumeRateExceeded", ERRORS,
         "test_snapshot_sets::test_snapshots_of_a_volume_keep_their_distance"),
    # Volumes
    Rule("A volume is creating before it is available", f"{API}, CreateVolume",
         "test_volumes::test_a_volume_is_creating_before_it_is_available"),
    Rule("DeleteVolume while attached: VolumeInUse", ERRORS,
         "test_volumes::test_an_attached_volume_cannot_be_deleted"),
    Rule("A volume is not smaller than its snapshot: InvalidParameterValue", f"{API}, CreateVolume",
         "test_volumes::test_a_volume_is_not_smaller_than_its_snapshot"),
    Rule("Type, IOPS, throughput, encryption as requested", f"{API}, CreateVolume",
         "test_volumes::test_a_volume_has_the_settings_asked_for"),
    Rule("The default type is gp2", f"{API}, CreateVolume", "test_volumes::test_the_default_type_is_gp2"),
    Rule("gp3 has limits, throughput at most a quarter of its IOPS", f"{API}, CreateVolume",
         "test_volumes::test_impossible_settings_are_refused"),
    Rule("Second attach: VolumeInUse; other zone: InvalidVolume.ZoneMismatch; used device refused", ERRORS,
         "test_volumes::test_a_volume_is_attached_once_and_in_its_zone"),
    Rule("The root volume cannot be detached", ERRORS, "test_volumes::test_the_root_volume_stays"),
    Rule("CreateVolume with the same ClientToken: the same volume, or IdempotentParameterMismatch", IDEMPOTENCY,
         "test_volumes::test_a_volume_token_makes_one_volume"),
    Rule("A volume only grows", f"{API}, ModifyVolume", "test_volumes::test_a_volume_only_grows"),
    # Launches
    Rule("The reply is pending, without mapping and public address", f"{API}, RunInstances",
         "test_launch::test_a_launch_is_pending_then_running"),
    Rule("A mapping without the root device still gives a root volume", f"{API}, RunInstances",
         "test_launch::test_the_root_volume_comes_from_the_image"),
    Rule("A root volume is encrypted if asked for, whatever its image's snapshot is",
         "EC2 User Guide, Use encryption with EBS-backed AMIs",
         "test_launch::test_the_root_volume_is_encrypted_if_asked_for"),
    Rule("The mapping's settings reach the volume", f"{API}, EbsBlockDevice",
         "test_launch::test_the_drive_has_the_settings_asked_for"),
    Rule("A drive smaller than its snapshot: InvalidBlockDeviceMapping", SEEN,
         "test_launch::test_the_drive_in_a_launch_is_not_smaller_than_its_snapshot"),
    Rule("A root volume smaller than the image's: InvalidBlockDeviceMapping", SEEN,
         "test_launch::test_the_root_volume_is_not_smaller_than_the_image"),
    Rule("DeleteOnTermination is obeyed", f"{API}, EbsBlockDevice", "test_launch::test_delete_on_termination_decides"),
    Rule("A new instance id is briefly InvalidInstanceID.NotFound", CONSISTENCY,
         "test_launch::test_the_first_question_about_a_new_instance_finds_nothing"),
    Rule("The same ClientToken: the same instance", IDEMPOTENCY,
         "test_launch::test_the_same_token_gives_the_same_instance"),
    Rule("A ClientToken with other arguments: IdempotentParameterMismatch", IDEMPOTENCY,
         "test_launch::test_a_token_with_other_arguments_is_a_mismatch"),
    Rule("A ClientToken of a terminated instance: IdempotentInstanceTerminated", ERRORS,
         "test_launch::test_a_token_of_a_terminated_instance_is_refused"),
    Rule("User data over 16 KB before base64: InvalidParameterValue", f"{API}, RunInstances",
         "test_launch::test_user_data_has_16_kb"),
    Rule("No capacity: InsufficientInstanceCapacity, HTTP 500, nothing left", ERRORS,
         "test_launch::test_no_capacity_is_http_500_and_leaves_nothing"),
    Rule("Wrong type, image, key, subnet, group, zone ...: each its own code", ERRORS,
         "test_launch::test_wrong_launches_are_refused"),
    Rule("DryRun is an exception, and changes nothing", f"{API}, RunInstances",
         "test_launch::test_dry_run_launches_nothing"),
    Rule("Tags ride in the creating call, on all volumes alike", f"{API}, TagSpecification",
         "test_launch::test_tags_of_a_launch_reach_what_they_name"),
    Rule("A new instance profile is briefly invalid, then without its role", SEEN,
         "test_launch::test_a_new_instance_profile_is_unknown_for_a_while"),
    Rule("An instance profile without a role: InvalidParameterValue", SEEN,
         "test_launch::test_an_instance_profile_without_a_role_is_refused"),
    # Instances
    Rule("Terminate: shutting-down, then terminated, without disks and addresses", f"{API}, TerminateInstances",
         "test_instances::test_terminate_goes_over_shutting_down"),
    Rule("Terminate is idempotent", f"{API}, TerminateInstances", "test_instances::test_terminate_can_be_repeated"),
    Rule("Terminate with one unknown id ends none", f"{API}, TerminateInstances",
         "test_instances::test_terminate_of_an_unknown_id_ends_none"),
    Rule("An OS shutdown terminates under InstanceInitiatedShutdownBehavior=terminate", f"{API}, RunInstances",
         "test_instances::test_an_instance_that_shuts_itself_down_is_terminated"),
    Rule("A terminated instance stays visible for a while", f"{API}, TerminateInstances",
         "test_instances::test_terminated_instances_are_forgotten_after_a_while"),
    Rule("Paging tells each instance once", f"{API}, DescribeInstances",
         "test_instances::test_instances_come_in_pages"),
    Rule("Filters match exactly, with * and ? alone as wildcards", f"{API}, Filter",
         "test_instances::test_instances_are_filtered"),
    Rule("An unknown filter: InvalidParameterValue", ERRORS, "test_instances::test_an_unknown_filter_is_refused"),
    Rule("A security group in use: DependencyViolation", ERRORS,
         "test_instances::test_a_security_group_in_use_cannot_be_deleted"),
    Rule("The same ingress rule again: InvalidPermission.Duplicate", ERRORS,
         "test_instances::test_a_rule_twice_is_a_duplicate"),
    Rule("Security groups: names and descriptions of at most 255 of EC2's characters, no name like an id",
         f"{API}, CreateSecurityGroup", "test_text_limits::test_a_group_s_texts_are_of_ec2_s_characters"),
    Rule("Descriptions of security group rules: the same characters", f"{API}, IpRange",
         "test_text_limits::test_a_rule_s_description_is_of_ec2_s_characters"),
    Rule("Snapshots' descriptions have 255 characters at most", "EBS direct APIs Reference, StartSnapshot",
         "test_text_limits::test_a_snapshot_s_description_has_255_characters"),
    Rule("Client tokens have 64 ASCII characters at most", f"{API}, RunInstances",
         "test_text_limits::test_a_client_token_has_64_ascii_characters"),
    Rule("Instance Connect works on running instances alone", "EC2 Instance Connect API Reference",
         "test_instances::test_instance_connect_puts_a_key_on_the_machine"),
    # Spot
    Rule("A spot launch has an active request", SPOT, "test_spot::test_a_spot_launch_has_an_active_request"),
    Rule("The request closes with its instance", SPOT, "test_spot::test_the_request_closes_with_its_instance"),
    Rule("A one-time spot instance cannot be stopped: UnsupportedOperation", SPOT,
         "test_spot::test_a_one_time_spot_instance_cannot_be_stopped"),
    Rule("A price below the market's: SpotMaxPriceTooLow", ERRORS, "test_spot::test_wrong_spot_options_are_refused"),
    Rule("ProductDescriptions selects prices", f"{API}, DescribeSpotPriceHistory",
         "test_spot::test_only_the_product_asked_for_is_told"),
    Rule("StartTime=now gives the current price of each zone", f"{API}, DescribeSpotPriceHistory",
         "test_spot::test_start_now_gives_the_current_price_once"),
    Rule("An interruption stands in the request's status while the instance runs", SPOT,
         "test_spot::test_an_interruption_is_announced_then_the_power_goes"),
    # Key pairs
    Rule("A key pair's name is unique: InvalidKeyPair.Duplicate", ERRORS,
         "test_key_pairs::test_a_name_is_imported_once"),
    Rule("Of racing imports one wins", ERRORS, "test_key_pairs::test_of_racing_imports_one_wins"),
    Rule("Deletion by KeyPairId spares a newer key of the name", f"{API}, DeleteKeyPair",
         "test_key_pairs::test_deletion_by_id_spares_a_newer_key_of_the_name"),
    Rule("A malformed key: InvalidKey.Format", ERRORS, "test_key_pairs::test_a_malformed_key_is_refused"),
    # Roles
    Rule("Machines may do what their role's policies allow, nothing else: UnauthorizedOperation", IAM,
         "test_roles::test_a_role_may_do_nothing_else"),
    Rule("CreateSnapshot is authorized on the volume and on the snapshot", IAM,
         "test_roles::test_create_snapshot_is_authorized_on_volume_and_snapshot"),
    Rule("Tags in the creating call need CreateTags, with ec2:CreateAction", IAM,
         "test_roles::test_tags_in_the_creating_call_need_create_tags"),
    Rule("CreateSnapshots is authorized on the instance, its volumes and the snapshots", IAM,
         "test_roles::test_a_set_is_authorized_on_instance_volumes_and_snapshots"),
    Rule("Requests with a machine's role carry ec2:SourceInstanceARN, usable as a policy variable",
         "IAM User Guide, IAM policy elements: Variables and tags", "test_roles::test_a_policy_tells_machines_apart"),
    Rule("aws:TagKeys has the keys of all tags in the request", "IAM User Guide, AWS global condition context keys",
         "test_roles::test_a_policy_names_the_tags_that_may_be_written"),
    Rule("A denial wins over every permission", "IAM User Guide, Policy evaluation logic",
         "test_roles::test_attached_policies_count_and_denials_win"),
    Rule("DryRun tells whether it is allowed", f"{API}, DryRun", "test_roles::test_a_dry_run_tells_what_is_allowed"),
    Rule("Unknown credentials: AuthFailure; a wrong signature: SignatureDoesNotMatch", ERRORS,
         "test_roles::test_credentials_must_be_known_and_whole"),
    Rule("Expired credentials: RequestExpired", ERRORS, "test_roles::test_credentials_expire"),
    # Catalogue
    Rule("Types are not offered in every zone", f"{API}, DescribeInstanceTypeOfferings",
         "test_catalogue::test_some_types_are_not_in_some_zones"),
    Rule("Types come in pages of at most 100", f"{API}, DescribeInstanceTypes",
         "test_catalogue::test_types_come_in_pages_and_fast_the_second_time"),
    # Requests
    Rule(
        "Of racing launches with one ClientToken one launches",
        IDEMPOTENCY,
        "test_side_by_side::test_of_racing_launches_with_one_token_one_launches",
    ),
    # Doors
    Rule("An unsigned request: AuthFailure, MissingAuthenticationToken", ERRORS,
         "test_doors::test_requests_are_signed"),
    Rule("An unknown key: AuthFailure, InvalidClientTokenId, UnrecognizedClientException", ERRORS,
         "test_doors::test_the_key_is_known"),
    Rule("A wrong secret: SignatureDoesNotMatch, InvalidSignatureException", SEEN,
         "test_doors::test_the_secret_is_right"),
    Rule("A changed body, path, query or header: SignatureDoesNotMatch", SIGNING,
         "test_doors::test_the_signature_is_over_all_that_counts"),
    Rule("Signed 15 minutes ago or ahead: RequestExpired, SignatureDoesNotMatch", ERRORS,
         "test_doors::test_a_signature_lasts_fifteen_minutes"),
    Rule("The day of the scope is the request's", SIGNING, "test_doors::test_a_signature_has_its_time"),
    Rule("The signature is computed as AWS does", SIGNING, "test_doors::test_our_signature_is_aws_s"),
    Rule("A foreign Host is refused, signed or not", OURS, "test_doors::test_only_our_own_names_are_a_host"),
    Rule("An Origin is refused, signed or not", OURS, "test_doors::test_no_web_page_is_answered"),
    Rule("Admin routes are signed too, by the user", OURS, "test_doors::test_admin_routes_are_for_the_user"),
    Rule("Within a machine only a role is let in", OURS, "test_doors::test_within_a_machine_only_a_role_is_let_in"),
    Rule("What is not provided gets an error document", ERRORS,
         "test_requests::test_what_is_not_provided_says_so"),
    Rule("Answers carry AWS's clock in the Date header", "RFC 9110",
         "test_requests::test_answers_have_aws_s_clock"),
    Rule("Tags have limits, aws: is reserved", "EC2 User Guide, Tag restrictions",
         "test_requests::test_tags_have_limits"),
)  # fmt: skip
