# `make prepare` and `make install-NAME` do what the SDK does before and after it compiles.
.PHONY: prepare
prepare:
	mkdir -p $(PKG_BUILD_DIR)
	$(call Build/Prepare)

define BuildPackage
install-$(1):
	$$(call Package/$(1)/install,$(OUT)/$(1))
endef
