"""The names of the forges: what `provider` may say."""

PROVIDERS = (
    "github", "gitlab", "gitea", "forgejo", "gogs", "gitee", "bitbucket-cloud",
    "bitbucket-server", "coding", "dockerhub", "msr", "azuredevops", "codeup", "tgit",
    "gitcode", "argo-events", "standard-webhooks", "svix", "convoy", "hookdeck",
    "generic",
)  # fmt: skip
