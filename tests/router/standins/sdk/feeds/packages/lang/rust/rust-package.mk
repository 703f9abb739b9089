RUST_ARCH_DEPENDS:=@(mips||mipsel)
# The SDK's own would install everything into /usr/bin.
define RustBinPackage
  ifndef Package/$(1)/install
    $$(error $(1) does not say what it installs)
  endif
endef
