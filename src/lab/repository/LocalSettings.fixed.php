$wgDBservers = [ [
	'host' => $wgDBserver,
	'dbname' => $wgDBname,
	'user' => $wgDBuser,
	'password' => $wgDBpassword,
	'type' => 'mysql',
	'flags' => DBO_DEFAULT, # persistent connections are off
	'load' => 1,
] ];
$wgJobRunRate = 0; # jobs run apart, not on page requests
$wgMiserMode = true;
$wgMainCacheType = CACHE_ACCEL;
$wgParserCacheType = CACHE_ACCEL;
$wgHooks['MediaWikiPerformAction'][] = static function () {
	register_shutdown_function( static function () {
		\MediaWiki\MediaWikiServices::getInstance()->getDBLoadBalancerFactory()->closeAll( __METHOD__ );
	} );
	return true;
};
# $wgDisableSearchUpdate = true;
# $wgEnableUploads = false;
