"""Administration of the KV cache: KVC.STORAGE, KVC.GROUP and KVC.INSTANCE, a module each."""

from hotplate.commands import kvc_group, kvc_instance, kvc_storage

SPECS = (*kvc_storage.SPECS, *kvc_group.SPECS, *kvc_instance.SPECS)
