"""Who may do what: rbac.authorization.k8s.io, and the reviews of authentication and authorization."""

from __future__ import annotations

from control.api.kind import Column, Kind
from control.api.kinds.columns import AGE, CREATED, NAME, text

_RBAC = "rbac.authorization.k8s.io"
_BINDING_COLUMNS: tuple[Column, ...] = (
    NAME,
    text("Role", "binding_role", "the role that is given"),
    AGE,
    text("Users", "binding_users", "users who get it", wide=True),
    text("Groups", "binding_groups", "groups that get it", wide=True),
    text("ServiceAccounts", "binding_accounts", "service accounts that get it", wide=True),
)

ROLE = Kind(_RBAC, "v1", "Role", "roles", "rbac.v1.Role", put_creates=True, columns=(NAME, CREATED))
CLUSTER_ROLE = Kind(
    _RBAC, "v1", "ClusterRole", "clusterroles", "rbac.v1.ClusterRole",
    namespaced=False, put_creates=True, columns=(NAME, CREATED),
)  # fmt: skip
ROLE_BINDING = Kind(
    _RBAC, "v1", "RoleBinding", "rolebindings", "rbac.v1.RoleBinding", put_creates=True, columns=_BINDING_COLUMNS
)
CLUSTER_ROLE_BINDING = Kind(
    _RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "rbac.v1.ClusterRoleBinding",
    namespaced=False, put_creates=True, columns=_BINDING_COLUMNS,
)  # fmt: skip


def _review(group: str, package: str, name: str, plural: str, *, namespaced: bool = False) -> Kind:
    return Kind(
        group, "v1", name, plural, f"{package}.v1.{name}", namespaced=namespaced, verbs=("create",), stored=False
    )


TOKEN_REVIEW = _review("authentication.k8s.io", "authentication", "TokenReview", "tokenreviews")
SELF_SUBJECT_REVIEW = _review("authentication.k8s.io", "authentication", "SelfSubjectReview", "selfsubjectreviews")
SUBJECT_ACCESS_REVIEW = _review("authorization.k8s.io", "authorization", "SubjectAccessReview", "subjectaccessreviews")
SELF_SUBJECT_ACCESS_REVIEW = _review(
    "authorization.k8s.io", "authorization", "SelfSubjectAccessReview", "selfsubjectaccessreviews"
)
LOCAL_SUBJECT_ACCESS_REVIEW = _review(
    "authorization.k8s.io", "authorization", "LocalSubjectAccessReview", "localsubjectaccessreviews", namespaced=True
)
SELF_SUBJECT_RULES_REVIEW = _review(
    "authorization.k8s.io", "authorization", "SelfSubjectRulesReview", "selfsubjectrulesreviews"
)
TOKEN_REQUEST = Kind(
    "authentication.k8s.io", "v1", "TokenRequest", "", "authentication.v1.TokenRequest", verbs=(), stored=False
)

KINDS = (
    CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, TOKEN_REVIEW, SELF_SUBJECT_REVIEW, SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW, LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_RULES_REVIEW,
)  # fmt: skip
BODIES = (TOKEN_REQUEST,)
